import io
import os
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from recollect.training import DataError
from recollect.training.errors import DownloadError
from recollect_nlp.data import babi
from recollect_nlp.data.babi import FALLBACK_FILES, FOLDER, BabiData, unpack, without_duplicates
from recollect_nlp.data.babi_format import read_stories

TRAIN_3 = "en-10k/qa3_three-supporting-facts_train.txt"


def stories(count, first=0):
    """So many stories with two questions each."""
    return "".join(
        f"1 Person{i} went to the garden.\n2 Where is Person{i}?\tgarden\t1\n"
        f"3 Person{i} went to the office.\n4 Where is Person{i}?\toffice\t3\n"
        for i in range(first, first + count)
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A small dataset in the layout of the archive: 20 training and 10 test questions per task."""
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    monkeypatch.setattr(babi, "TRAINING_QUESTIONS", {"en": 20, "en-10k": 20})
    monkeypatch.setattr(babi, "TEST_QUESTIONS", 10)
    monkeypatch.setattr(babi, "FALLBACK_QUESTIONS", 20)
    folder = tmp_path / "babi" / FOLDER
    for size in ("en", "en-10k", "en-valid-10k"):
        (folder / size).mkdir(parents=True)
    for size in ("en", "en-10k"):
        for number, name in enumerate(babi.TASK_NAMES, start=1):
            (folder / f"{size}/qa{number}_{name}_train.txt").write_text(stories(10))
            (folder / f"{size}/qa{number}_{name}_test.txt").write_text(stories(5, first=50))
    return folder


def packed(folder, archive):
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    return archive


def test_tasks_are_read_jointly_or_separately(folder):
    data = BabiData()
    assert data.tasks == [f"qa{number}" for number in range(1, 21)]
    assert Counter(q.task for q in data.questions("train")) == dict.fromkeys(data.tasks, 18)
    assert Counter(q.task for q in data.questions("val")) == dict.fromkeys(data.tasks, 2)
    assert Counter(q.task for q in data.questions("test")) == dict.fromkeys(data.tasks, 10)
    assert data.notes == []
    assert BabiData(tasks=7).tasks == ["qa7"]
    assert {q.task for q in BabiData(tasks=[20, 1]).questions("test")} == {"qa20", "qa1"}


def test_the_size_chooses_the_folder(folder):
    assert "/en/" in BabiData(tasks=1, size="en").questions("train")[0].source
    assert "/en-10k/" in BabiData(tasks=1).questions("train")[0].source


def test_custom_questions_replace_the_tasks_without_a_download(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path / "nothing"))
    (tmp_path / "mine.txt").write_text(stories(30))
    data = BabiData(path=str(tmp_path / "mine.txt"))
    data.prepare_data()
    assert data.tasks == ["questions"]
    assert data.notes == []
    assert len(data.questions("train")) + len(data.questions("val")) + len(data.questions("test")) == 60
    assert not (tmp_path / "nothing").exists()


def test_task_3_falls_back_to_other_files_with_a_note(folder):
    (folder / TRAIN_3).unlink()
    (folder / FALLBACK_FILES[1]).write_text(stories(10, first=7))  # three stories are in both files
    data = BabiData(tasks=[2, 3])
    found = {q.story for split in ("train", "val") for q in data.questions(split) if q.task == "qa3"}
    assert len(found) == 2 * 17
    assert sum(q.task == "qa3" for split in ("train", "val") for q in data.questions(split)) == 2 * 17
    assert data.notes == [
        "qa3: trained on the 1k training file and the 10k validation file, "
        "because the 10k training file is missing."
    ]
    assert BabiData(tasks=2).notes == []
    assert BabiData(tasks=3, size="en").notes == []


@pytest.mark.parametrize("missing", [TRAIN_3, "en-10k/qa1_single-supporting-fact_train.txt"])
def test_a_missing_file_is_an_error_with_its_url(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(DataError, match=rf"{folder / missing} is missing: unpack http://.*tar\.gz"):
        BabiData().questions("train")


def test_an_incomplete_file_is_an_error(folder):
    path = folder / "en-10k/qa4_two-arg-relations_test.txt"
    path.write_text(stories(4))
    with pytest.raises(DataError, match=rf"{path} has 8 questions instead of 10"):
        BabiData(tasks=4).questions("test")


def test_a_malformed_file_is_an_error_with_its_line(folder):
    path = folder / "en-10k/qa4_two-arg-relations_test.txt"
    path.write_text(path.read_text().replace("garden\t1", "garden\t9", 1))
    with pytest.raises(DataError, match=rf"{path}, line 2: supporting line '9'"):
        BabiData(tasks=4).questions("test")


def test_an_archive_that_is_already_there_is_unpacked(folder, tmp_path, monkeypatch):
    packed(folder, tmp_path / "elsewhere" / "babi" / "tasks_1-20_v1-2.tar.gz")
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path / "elsewhere"))
    data = BabiData(tasks=1)
    data.prepare_data()
    data.prepare_data()  # nothing is left to do
    assert len(data.questions("test")) == 10
    assert sorted(path.name for path in (tmp_path / "elsewhere" / "babi").iterdir()) == [
        FOLDER,
        f"{FOLDER}.tar.gz",
    ]


def test_a_damaged_archive_leaves_no_folder(folder, tmp_path):
    whole = packed(folder, tmp_path / "whole.tar.gz").read_bytes()
    place = tmp_path / "elsewhere"
    place.mkdir()
    archive = place / "cut.tar.gz"
    for content in (whole[: len(whole) // 2], b"<html>moved</html>", b""):
        archive.write_bytes(content)
        with pytest.raises(DataError, match=rf"{archive} is damaged"):
            unpack(archive, place / FOLDER)
        assert list(place.iterdir()) == [archive]


def test_another_archive_is_an_error(tmp_path):
    archive = tmp_path / "other.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("readme.txt"), io.BytesIO())
    with pytest.raises(DataError, match=f"has no folder {FOLDER}"):
        unpack(archive, tmp_path / FOLDER)


def test_a_failed_download_names_url_and_path(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    monkeypatch.setattr(babi, "URL", "http://127.0.0.1:9/tasks_1-20_v1-2.tar.gz")
    place = tmp_path / "babi" / "tasks_1-20_v1-2.tar.gz"
    with pytest.raises(DownloadError, match=rf"http://127\.0\.0\.1:9/.*\n.*{place}"):
        BabiData().prepare_data()
    assert not place.exists()


@pytest.mark.parametrize("tasks", [0, 21, [1, 1], [], [1, 30]])
def test_unknown_tasks_are_errors(tasks):
    with pytest.raises(ValueError, match="tasks must be different numbers from 1 to 20"):
        BabiData(tasks=tasks)


def test_unknown_sizes_are_errors():
    with pytest.raises(ValueError, match=r"size must be one of \['en', 'en-10k'\], not 'en-1k'"):
        BabiData(size="en-1k")


# --- the real files -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    data = BabiData()
    if not os.environ.get("RECOLLECT_DATA") or not data.folder.exists():
        pytest.skip("RECOLLECT_DATA names no folder with babi in it")
    return data


@pytest.mark.data
def test_the_published_numbers_of_questions(real):
    kept, held_out = (Counter(q.task for q in real.questions(split)) for split in ("train", "val"))
    for task in real.tasks:
        if task != "qa3" or not real.notes:
            assert kept[task] + held_out[task] == 10_000
            assert 990 <= held_out[task] <= 1_010
    assert Counter(q.task for q in real.questions("test")) == dict.fromkeys(real.tasks, 1_000)


@pytest.mark.data
def test_the_published_numbers_of_questions_of_the_small_size(real):
    data = BabiData(size="en")
    assert Counter(q.task for split in ("train", "val") for q in data.questions(split)) == dict.fromkeys(
        data.tasks, 1_000
    )
    assert Counter(q.task for q in data.questions("test")) == dict.fromkeys(data.tasks, 1_000)


@pytest.mark.data
def test_no_test_story_of_task_3_is_trained_on(real):
    seen = {
        (q.story, q.question) for split in ("train", "val") for q in real.questions(split) if q.task == "qa3"
    }
    assert not any((q.story, q.question) in seen for q in real.questions("test") if q.task == "qa3")


@pytest.mark.data
def test_the_fallback_files_of_task_3_share_15_stories(real):
    questions = [q for file in FALLBACK_FILES for q in read_stories(Path(real.folder, file), task="qa3")]
    assert len(questions) == 2_000
    assert len(without_duplicates(questions)) == 2_000 - 15 * 5


@pytest.mark.data
def test_all_words_and_nearly_all_answers_of_the_test_occur_in_training(real):
    assert not any(real.vocabulary.unknown(q.question) for q in real.questions("test"))
    unseen = [q for q in real.questions("test") if real.answers.encode(q.answer) < 0]
    assert len(unseen) <= 20
