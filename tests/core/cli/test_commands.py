"""Further commands of a package: listed, parsed and refused before anything heavy is imported."""

import argparse
import sys
from types import ModuleType

import pytest

from recollect_cli import Command, command_line
from recollect_cli.errors import ArgumentError, UserError


def add_count(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=3, help="how many")


COMMANDS = {
    "measure": Command("measuring", "measure runs"),
    "count-up": Command("counting", "count", add_count),
}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[argparse.Namespace]:
    """What the commands were started with."""
    found: list[argparse.Namespace] = []
    for name in ("measuring", "counting"):
        module = ModuleType(name)
        module.run = found.append  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    return found


def run(*args: str) -> None:
    command_line("recollect_vision", "digits", COMMANDS)(args)


def test_help_lists_them(capsys: pytest.CaptureFixture[str]):
    run("--help")
    printed = capsys.readouterr().out
    assert "  measure   measure runs\n" in printed
    assert "  count-up  count\n" in printed
    assert "recollect-vision measure --help lists what it takes" in printed
    with pytest.raises(SystemExit, match="0"):
        run("count-up", "--help")
    assert "--count COUNT  how many" in capsys.readouterr().out


def test_they_are_given_their_arguments(seen: list[argparse.Namespace]):
    run("measure", "a", "b")
    run("count-up", "--count", "5")
    assert [str(path) for path in seen[0].runs] == ["a", "b"]
    assert seen[1].count == 5


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["measure"], "the following arguments are required: RUN"),
        (["count-up", "--count", "many"], "argument --count: invalid int value: 'many'"),
        (["count-up", "--coun", "5"], "unrecognized arguments: --coun 5"),
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
    error: Exception, code: int, seen: list[argparse.Namespace], capsys: pytest.CaptureFixture[str]
):
    def refuse(_: argparse.Namespace) -> None:
        raise error

    sys.modules["measuring"].run = refuse  # type: ignore[attr-defined]
    with pytest.raises(SystemExit) as stop:
        run("measure", "a")
    assert stop.value.code == code
    assert capsys.readouterr().err == "recollect-vision: error: no\n"
