"""What a run says of the code that it was made with."""

import subprocess
from pathlib import Path

import pytest

from recollect.training.results import code_commit


def git(root: Path, *command: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(
        ["git", "-C", str(root), *identity, *command], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A file in the packages of a repository, committed."""
    file = tmp_path / "packages" / "core" / "code.py"
    file.parent.mkdir(parents=True)
    file.write_text("a = 1")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "code")
    return file


def test_the_commit_is_that_of_the_checkout(code: Path, tmp_path: Path):
    assert code_commit(str(code)) == git(tmp_path, "rev-parse", "HEAD")


def test_changed_code_is_dirty_and_a_changed_results_file_is_not(code: Path, tmp_path: Path):
    other = tmp_path / "results.md"
    other.write_text("0.9")
    git(tmp_path, "add", ".")
    assert code_commit(str(code)) == git(tmp_path, "rev-parse", "HEAD")
    code.write_text("a = 2")
    assert code_commit(str(code)) == git(tmp_path, "rev-parse", "HEAD") + "-dirty"


def test_code_that_git_does_not_track_has_no_commit(code: Path, tmp_path: Path, tmp_path_factory):
    installed = tmp_path / "venv" / "code.py"  # within a repository, as a virtual environment often is
    installed.parent.mkdir()
    installed.write_text("a = 1")
    assert code_commit(str(installed)) is None
    assert code_commit(str(tmp_path_factory.mktemp("elsewhere") / "code.py")) is None


def test_a_machine_without_git_has_no_commit(code: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_commit(str(code)) is None
