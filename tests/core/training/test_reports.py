"""Commands that measure run folders."""

from pathlib import Path

import pytest

from recollect.training import DataError, TrainedRun
from recollect.training.load import report_runs


def test_each_run_is_reported_on_in_turn(trained: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[str, TrainedRun]] = []
    monkeypatch.setattr("sys.argv", ["module", str(trained), str(trained)])
    report_runs("package.module", lambda folder, run: seen.append((folder, run)))
    assert [folder for folder, _ in seen] == [str(trained), str(trained)]
    assert not seen[0][1].task.training


@pytest.mark.parametrize("args", [[], ["-h"], ["--help"]])
def test_who_names_no_run_is_told_what_it_takes(args: list[str], capsys: pytest.CaptureFixture[str]):
    report_runs("package.module", lambda folder, run: pytest.fail(folder), args)
    assert capsys.readouterr().out == "usage: python -m package.module RUN [RUN …]\n"


def test_what_is_wrong_is_said_in_a_line(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="1"):
        report_runs("package.module", lambda folder, run: None, [str(tmp_path)])
    assert capsys.readouterr().err.startswith(f"package.module: error: {tmp_path} is no run folder")

    def refuse(folder: str, run: TrainedRun) -> None:
        raise DataError("this run cannot be measured")

    with pytest.raises(SystemExit, match="1"):
        report_runs("package.module", refuse, [str(trained)])
    assert capsys.readouterr().err == "package.module: error: this run cannot be measured\n"
