"""Commands that measure run folders."""

from pathlib import Path

import pytest

from recollect.training import TrainedRun
from recollect.training.errors import CheckpointError
from recollect.training.load import report_runs


def test_each_run_is_reported_on_in_turn(trained: Path):
    seen: list[tuple[str, TrainedRun]] = []
    report_runs("recollect_tiny", [trained, str(trained)], lambda folder, run: seen.append((folder, run)))
    assert [folder for folder, _ in seen] == [str(trained), str(trained)]
    assert not seen[0][1].task.training


def test_what_is_no_run_of_the_package_is_refused(trained: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match=f"{tmp_path} is no run folder"):
        report_runs("recollect_tiny", [tmp_path], lambda folder, run: pytest.fail(folder))
    with pytest.raises(
        CheckpointError, match="is of recollect_tiny, not of recollect_vision: use recollect-tiny"
    ):
        report_runs("recollect_vision", [trained], lambda folder, run: pytest.fail(folder))
    with pytest.raises(CheckpointError, match=f"{tmp_path} is no run folder"):
        report_runs("recollect_tiny", [trained, tmp_path], lambda folder, run: pytest.fail(folder))
