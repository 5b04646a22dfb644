"""Folders: links are followed, what tools leave is not seen."""

from pathlib import Path

from recollect.training.folders import files_below, subfolders


def test_links_are_followed_and_end(tmp_path: Path):
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "a.PNG").touch()
    top = tmp_path / "top"
    top.mkdir()
    (top / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "back").symlink_to(top)
    (top / "b.png").touch()
    (top / "notes.txt").touch()
    found = [str(path.relative_to(top)) for path in files_below(top, {".png"})]
    assert found == ["b.png", "linked/deep/a.PNG"]
    assert [path.name for path in subfolders(top)] == ["linked"]


def test_what_tools_leave_is_not_seen(tmp_path: Path):
    for name in (
        ".ipynb_checkpoints/1.png",
        "__MACOSX/2.png",
        "cat/._3.png",
        "cat/Thumbs.db",
        "cat/4.png",
        ".5.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in files_below(tmp_path, {".png", ".db"})] == ["4.png"]
    assert [path.name for path in subfolders(tmp_path)] == ["cat"]
