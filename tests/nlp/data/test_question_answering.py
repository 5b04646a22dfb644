"""Data modules of question answering: custom files, splits, checkpoints and unknown words."""

import io
import sys
from types import SimpleNamespace

import pytest
import torch
from jsonargparse import ArgumentError, ArgumentParser

from recollect.training import DataError
from recollect_nlp.data.babi import BabiData
from recollect_nlp.data.question_answering import CUSTOM_TASK, QuestionData
from recollect_nlp.data.splits import hold_out_stories
from recollect_nlp.data.stories import StoryData
from recollect_nlp.data.synthetic_stories import StoryGenerator
from recollect_nlp.types import QuestionBatch


def write(path, stories, place="kitchen", first=0):
    text = ""
    for i in range(first, first + stories):
        text += f"1 Person{i} went to the {place}.\n2 Where is Person{i}?\t{place}\t1\n"
    path.write_text(text)
    return str(path)


def small(**options):
    return StoryData(stories=40, held_out=5, **{"batch_size": 8, **options})


def texts(data, split):
    return [(q.story, q.question) for q in data.questions(split)]


def test_splits_of_synthetic_stories_are_disjoint():
    data = small()
    stories = {split: {q.story for q in data.questions(split)} for split in ("train", "val", "test")}
    assert not stories["train"] & stories["val"]
    assert not stories["train"] & stories["test"]
    assert not stories["val"] & stories["test"]


def test_validation_and_test_do_not_depend_on_the_number_of_training_stories():
    more = StoryData(stories=60, held_out=5)
    assert texts(more, "test") == texts(small(), "test")
    assert texts(more, "val") == texts(small(), "val")
    assert texts(more, "train")[:120] == texts(small(), "train")


def test_splits_do_not_depend_on_the_order_of_access():
    data = small()
    train = texts(data, "train")
    assert (texts(data, "test"), train) == (texts(small(), "test"), texts(small(), "train"))


def test_vocabulary_and_answers_are_fitted_to_the_training_split(tmp_path):
    data = small(
        path=write(tmp_path / "train.txt", 3),
        val_path=write(tmp_path / "val.txt", 1, "garden", first=7),
        test_path=write(tmp_path / "test.txt", 1, "office", first=8),
    )
    assert data.tasks == [CUSTOM_TASK]
    assert data.vocabulary.state() == [
        "is",
        "kitchen",
        "person0",
        "person1",
        "person2",
        "the",
        "to",
        "went",
        "where",
    ]
    assert data.answers.state() == ["kitchen"]
    with pytest.warns() as warnings:
        batch = next(iter(data.test_dataloader()))
    assert batch.answer.tolist() == [-1]
    message = " ".join(str(warning.message) for warning in warnings)
    assert f"'person8' ({tmp_path / 'test.txt'}, line 1)" in message
    assert "1 of 1 test questions have an answer that did not occur in training" in message
    assert f"first 'office' ({tmp_path / 'test.txt'}, line 2)" in message


def test_whole_stories_of_a_custom_file_are_held_out(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text(
        "".join(f"1 A{i} left.\n2 Who left?\tA\n3 B{i} left.\n4 Who left?\tB\n" for i in range(40))
    )
    data = small(path=str(path), validation=0.25)
    counts = {split: len(data.questions(split)) for split in ("train", "val", "test")}
    assert counts == {"test": 20, "val": 16, "train": 44}  # a quarter, then a quarter of what is left
    numbers = [{q.number for q in data.questions(split)} for split in ("train", "val", "test")]
    assert sum(map(len, numbers)) == len(set.union(*numbers)) == 40
    again, other = small(path=str(path), validation=0.25), small(path=str(path), validation=0.25, seed=1)
    assert texts(again, "val") == texts(data, "val")
    assert texts(other, "val") != texts(data, "val")


def test_the_same_share_of_each_task_is_held_out_in_order():
    questions = StoryGenerator(seed=0, sentences=3, questions=1).generate(200)
    kept, held_out = hold_out_stories(questions, 0.1, seed=0)
    assert sorted(kept + held_out, key=lambda q: q.number) == questions
    assert [q.number for q in kept] == sorted(q.number for q in kept)
    for task in {q.task for q in questions}:
        count = sum(q.task == task for q in questions)
        assert sum(q.task == task for q in held_out) == max(1, round(0.1 * count))


def test_a_single_story_cannot_be_split(tmp_path):
    data = small(path=write(tmp_path / "one.txt", 1))
    with pytest.raises(DataError, match=r"one\.txt has a single story: too few to hold some out"):
        data.questions("train")


def test_prediction_needs_only_the_checkpoint(tmp_path):
    trained = small()
    trained.setup("fit")
    torch.save(trained.state_dict(), tmp_path / "state.pt")
    data = small(path=str(tmp_path / "mine.txt"))
    (tmp_path / "mine.txt").write_text("1 Anna went to the cellar.\n2 Where is Anna?\n3 Where is the book?\n")
    data.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    batch = next(iter(data.predict_dataloader()))
    assert data.vocabulary.decode(batch.sentences[batch.question[0]].tolist()) == ["where", "is", "anna"]
    assert [data.question("predict", i).line for i in batch.index.tolist()] == [2, 3]
    assert batch.answer.tolist() == [-1, -1]


def test_a_warning_names_unknown_words_with_their_lines(tmp_path):
    data = small(path=str(tmp_path / "mine.txt"))
    data.load_state_dict(small().state_dict())
    (tmp_path / "mine.txt").write_text(
        "1 Zoe went to the moon.\n2 Zoe took the book.\n3 Where is Zoe?\n4 a b c d e f g h\n5 Who is it?\n"
    )
    with pytest.warns(UserWarning, match="treated as unknown") as warnings:
        data.predict_dataloader()
    assert len(warnings) == 1
    message = str(warnings[0].message)
    assert f"'zoe' ({tmp_path / 'mine.txt'}, line 1), 'moon' ({tmp_path / 'mine.txt'}, line 1)" in message
    assert f"'a' ({tmp_path / 'mine.txt'}, line 4)" in message
    assert message.endswith("and 6 more.")


def test_prediction_keeps_the_order_and_defaults_to_the_test_split():
    data = small()
    index = [i for batch in data.predict_dataloader() for i in batch.index.tolist()]
    assert index == list(range(15))
    assert data.questions("predict") == data.questions("test")


def test_standard_input_is_for_prediction_only(monkeypatch):
    data = small(path="-")
    with pytest.raises(DataError, match=r"standard input .* is for predict only"):
        data.fitted  # noqa: B018
    data.load_state_dict(small().state_dict())
    monkeypatch.setattr(
        sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"1 Anna went to the cellar.\n2 Who?\n"))
    )
    assert len(data.predict_dataloader()) == 1
    assert len(data.predict_dataloader()) == 1  # and not a second time


def test_batches_cover_each_epoch_once_in_a_new_order():
    data = small()
    loader = data.train_dataloader()
    epochs = []
    for epoch in range(2):
        loader.batch_sampler.set_epoch(epoch)
        epochs.append([batch.index.tolist() for batch in loader])
        assert sorted(i for batch in epochs[-1] for i in batch) == list(range(120))
    assert epochs[0] != epochs[1]
    assert isinstance(next(iter(loader)), QuestionBatch)


def test_worker_processes_load_the_same_batches():
    main, workers = small().val_dataloader(), small(num_workers=1).val_dataloader()
    for a, b in zip(main, workers, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_warning_counts_questions_about_truncated_stories():
    with pytest.warns(UserWarning, match=r"40 of 120 train questions .* only the last 6 are kept"):
        dataset = small(slots=6).dataset("train")
    assert dataset.truncated == 40
    assert max(len(question.story) for question in dataset.questions) == 6


def test_loading_a_checkpoint_replaces_the_vocabulary():
    data = small()
    first = data.dataset("val").__getitems__([0])
    state = data.state_dict()
    data.load_state_dict({"fitted": {**state["fitted"], "words": list(reversed(state["fitted"]["words"]))}})
    second = data.dataset("val").__getitems__([0])
    assert not torch.equal(first.sentences, second.sentences)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_path": "v.txt"}, "val_path needs path"),
        ({"test_path": "t.txt"}, "test_path needs path"),
        ({"validation": 0.0}, "validation must be between"),
        ({"validation": 0.5}, "validation must be between"),
        ({"slots": 0}, "slots must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_arguments_out_of_range_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


@pytest.mark.parametrize("options", [{"stories": 0}, {"held_out": 0}])
def test_zero_stories_are_an_error(options):
    with pytest.raises(ValueError, match="must be at least 1"):
        StoryData(**options)


def test_several_processes_cannot_share_standard_input():
    data = small(path="-")
    data.load_state_dict(small().state_dict())
    data.trainer = SimpleNamespace(world_size=2)
    with pytest.raises(DataError, match="can be read by one process only"):
        data.questions("predict")


@pytest.mark.parametrize("kind", [StoryData, BabiData])
def test_the_command_line_accepts_every_argument_and_rejects_others(kind):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(QuestionData, "data")
    name = f"{kind.__module__}.{kind.__name__}"
    flags = ["--data.path=mine.txt", "--data.slots=50", "--data.batch_size=7", "--data.validation=0.2"]
    data = parser.instantiate(parser.parse_args([f"--data={name}", *flags])).data
    assert (data.path, data.slots, data.batch_size, data.validation) == ("mine.txt", 50, 7, 0.2)
    with pytest.raises(ArgumentError, match="slot"):
        parser.parse_args([f"--data={name}", "--data.slot=50"])


def test_one_task_or_several_by_flag():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(BabiData, "data")
    for flag, tasks in (
        ("3", ["qa3"]),
        ("[1,2]", ["qa1", "qa2"]),
        ("null", [f"qa{n}" for n in range(1, 21)]),
    ):
        config = parser.parse_args([f"--data.tasks={flag}", "--data.size=en"])
        assert parser.instantiate(config).data.tasks == tasks
