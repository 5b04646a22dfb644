"""Further commands of a package: listed, parsed and refused before anything heavy is imported."""

import argparse
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from recollect_cli import Command, command_line
from recollect_cli.errors import ArgumentError, UserError
from recollect_cli.signatures import signature


def add_count(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=3, help="how many")


def check_count(options: argparse.Namespace) -> None:
    if options.count < 1:
        raise ArgumentError(f"--count must be positive, got {options.count}")


COMMANDS = {
    "measure": Command("measuring", "measure runs"),
    "count-up": Command("counting", "count", add_count, check_count),
}
PACKAGED = [
    (package, name)
    for package in ("recollect_recsys", "recollect_speech", "recollect_vision")
    for name in import_module(f"{package}.cli").COMMANDS
]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[argparse.Namespace]:
    """What the commands were started with."""
    found: list[argparse.Namespace] = []
    for name in ("measuring", "counting"):
        module = ModuleType(name)
        module.run = found.append  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    return found


def run_folder(path: Path) -> Path:
    """A folder that looks like a run from outside."""
    (path / "checkpoints").mkdir(parents=True)
    (path / "config.yaml").touch()
    (path / "checkpoints" / "last.ckpt").touch()
    return path


def run(*args: str) -> None:
    command_line("recollect_vision", "digits", COMMANDS)(args)


def test_help_lists_them(capsys: pytest.CaptureFixture[str]):
    run("--help")
    printed = capsys.readouterr().out
    assert "  measure   measure runs\n" in printed
    assert "  count-up  count\n" in printed
    assert "recollect-vision measure --help lists the arguments of measure." in printed
    assert "recollect-vision count-up --help lists the arguments of count-up." in printed
    with pytest.raises(SystemExit, match="0"):
        run("count-up", "--help")
    assert "--count COUNT  how many" in capsys.readouterr().out


@pytest.mark.parametrize(("package", "name"), PACKAGED)
def test_every_command_of_a_package_is_listed_and_has_a_module(
    package: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "120")  # a narrow terminal cuts the lines
    cli = import_module(f"{package}.cli")
    cli.main(["--help"])
    summary = cli.COMMANDS[name].summary
    assert any(line.split() == [name, *summary.split()] for line in capsys.readouterr().out.splitlines())
    found = signature(f"{cli.COMMANDS[name].module}.run")
    assert found is not None
    assert list(found.parameters) == ["options"]


def test_they_are_given_their_arguments(seen: list[argparse.Namespace], tmp_path: Path):
    folders = [run_folder(tmp_path / name) for name in "ab"]
    run("measure", *map(str, folders))
    run("count-up", "--count", "5")
    assert seen[0].runs == folders
    assert seen[1].count == 5


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["measure"], "the following arguments are required: RUN"),
        (["count-up", "--count", "many"], "argument --count: invalid int value: 'many'"),
        (["count-up", "--coun", "5"], "unrecognized arguments: --coun 5"),
        (["count-up", "--count", "0"], "--count must be positive, got 0"),
        (["mesure", "a"], "no such command: 'mesure'; did you mean measure?"),
    ],
)
def test_wrong_arguments_are_one_line(args: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        run(*args)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"recollect-vision: error: {message}\n"


@pytest.mark.parametrize(("error", "code"), [(ArgumentError("no"), 2), (UserError("no"), 1)])
def test_what_a_command_refuses_is_one_line(
    error: Exception,
    code: int,
    seen: list[argparse.Namespace],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    def refuse(_: argparse.Namespace) -> None:
        raise error

    sys.modules["measuring"].run = refuse  # type: ignore[attr-defined]
    with pytest.raises(SystemExit) as stop:
        run("measure", str(run_folder(tmp_path / "a")))
    assert stop.value.code == code
    assert capsys.readouterr().err == "recollect-vision: error: no\n"


def test_a_signal_ends_a_command_with_one_line(
    seen: list[argparse.Namespace], capsys: pytest.CaptureFixture[str]
):
    sys.modules["counting"].run = lambda _: os.kill(os.getpid(), signal.SIGTERM)  # type: ignore[attr-defined]
    with pytest.raises(SystemExit) as stop:
        run("count-up")
    assert stop.value.code == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "recollect-vision: stopped by SIGTERM\n"


def test_all_folders_are_checked_before_a_command_is_started(
    seen: list[argparse.Namespace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    good, empty = run_folder(tmp_path / "good"), run_folder(tmp_path / "empty")
    (empty / "checkpoints" / "last.ckpt").unlink()
    for folder, message in (
        (empty, f"{empty} has no last checkpoint"),
        (tmp_path, f"{tmp_path} is no run folder: it has no config.yaml"),
    ):
        with pytest.raises(SystemExit) as stop:
            run("measure", str(good), str(folder))
        assert stop.value.code == 1
        assert message in capsys.readouterr().err
    assert seen == []
