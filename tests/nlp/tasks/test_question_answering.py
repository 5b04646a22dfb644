"""Question answering from the command line: what a run leaves, and what it answers."""

import json
from pathlib import Path

import pytest
import torch

from recollect import Read
from recollect_nlp.data.questions import QuestionBatch
from recollect_nlp.models.question_answering import RecurrentReader
from recollect_nlp.tasks.question_answering import read_weights

QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
SMALL = ["--data.stories", "200", "--data.held_out", "20", "--trainer.max_epochs", "1"]
SMALL += ["--trainer.log_every_n_steps", "5"]

OWN = "1 Mary went to the kitchen.\n2 Mary took the football.\n3 Where is the football?\tkitchen\t1 2\n"


def run(root: Path, *args: str) -> None:
    from recollect_nlp.cli import main

    main([*args, "--trainer.default_root_dir", str(root), *QUIET])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stories")
    run(root, "fit", *SMALL)
    (folder,) = (root / "runs" / "stories").iterdir()
    return folder


def test_a_run_leaves_results_and_pictures_of_what_was_read(trained: Path) -> None:
    metrics = json.loads((trained / "results.json").read_text())["metrics"]
    assert 0 <= metrics["test/accuracy"] <= 1
    assert {"test/mean_error", "test/failed_tasks", "test/error/where_object"} <= metrics.keys()
    assert list((trained / "pictures").glob("test-*.png"))


@pytest.mark.filterwarnings("ignore:Words that did not occur in training")  # the stories know other people
def test_an_own_file_is_answered_with_what_was_read(trained: Path, tmp_path: Path) -> None:
    own = tmp_path / "my.txt"
    own.write_text(OWN.replace("\tkitchen\t1 2", ""))
    answers = tmp_path / "answers.jsonl"
    config = str(trained / "config.yaml")
    flags = ["--ckpt_path", "last", "--data.path", str(own), "--output", str(answers)]
    run(tmp_path, "predict", "--config", config, *flags)
    (row,) = [json.loads(line) for line in answers.read_text().splitlines()]
    assert row["question"] == "Where is the football?"
    assert row["line"] == 3
    assert 0 < row["probability"] <= 1
    sentences = ["Mary went to the kitchen.", "Mary took the football."]
    assert [part["sentence"] for part in row["read"]] == sentences
    for hop in zip(*(part["weights"] for part in row["read"]), strict=True):
        assert sum(hop) == pytest.approx(1, abs=1e-3)


def test_weights_are_put_where_the_storage_looked() -> None:
    read = Read(torch.zeros(1, 1, 2), torch.tensor([[[0.7, 0.3]]]), torch.tensor([[[2, 0]]]))
    torch.testing.assert_close(read_weights([read], 0, 3), torch.tensor([[0.3, 0.0, 0.7]]))


def test_padding_of_a_story_does_not_reach_the_recurrent_reader() -> None:
    torch.manual_seed(0)
    reader = RecurrentReader(vocabulary_size=9, answers=3, size=4).eval()
    sentences = torch.randint(1, 9, (4, 3))
    story, mask = torch.tensor([[0, 1, 3]]), torch.tensor([[True, True, False]])
    one = torch.tensor([2])

    def scores(story: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        lengths = torch.full((4,), 3)
        return reader(QuestionBatch(sentences, lengths, story, mask, one, one, one, one))

    torch.testing.assert_close(scores(story, mask), scores(story[:, :2], mask[:, :2]))
    assert not torch.allclose(scores(story, mask), scores(story[:, [1, 0]], mask[:, :2]))
