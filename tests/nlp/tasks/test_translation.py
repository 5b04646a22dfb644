"""Translation by the command line, from files to predictions, of a language that is learned in seconds."""

import io
import json
import math
import random
import shutil
import sys

import pytest
import torch
import yaml

from recollect_nlp.cli import main
from recollect_nlp.models.translation import shift_right, until_eos

WORDS = ["one", "two", "three", "four", "five", "six"]
DATA = "recollect_nlp.data.translation.TranslationData"
RECURRENT = {
    "class_path": "recollect_nlp.models.recurrent_translator.RecurrentTranslator",
    "init_args": {"model_size": 48, "dropout": 0.0},
}
STORAGE = {
    "class_path": "recollect.VectorStorage",
    "init_args": {"key_size": 48, "value_size": 48, "slots": 16, "similarity": "dot"},
}


def settings(folder, steps):
    files = {
        f"{split}_{side}": str(folder / f"{split}.{side}")
        for split in ("train", "val", "test")
        for side in ("source", "target")
    }
    return {
        "seed_everything": 0,
        "model": {
            "class_path": "recollect_nlp.tasks.translation.Translation",
            "init_args": {
                "translator": RECURRENT,
                "memory": {"class_path": "recollect.Seq2SeqMemory", "init_args": {"storage": STORAGE}},
                "beam": 3,
                "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.01}},
            },
        },
        "data": {"class_path": DATA, "init_args": {**files, "vocabulary_size": 60, "batch_pieces": 256}},
        "trainer": {
            "accelerator": "cpu",
            "max_steps": steps,
            "log_every_n_steps": 5,
            "check_val_every_n_epoch": 9,
            "enable_progress_bar": False,
            "callbacks": [
                {
                    "class_path": "recollect.training.callbacks.checkpoint_averaging.CheckpointAveraging",
                    "init_args": {"count": 3, "every_n_steps": 5},
                },
                {
                    "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "init_args": {
                        "monitor": "val/bleu",
                        "mode": "max",
                        "filename": "best",
                        "save_last": True,
                    },
                },
            ],
        },
    }


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """Each sentence is translated word by word, in reverse order."""
    folder = tmp_path_factory.mktemp("language")
    generator = random.Random(0)
    for split, size in (("train", 600), ("val", 40), ("test", 40)):
        sentences = [generator.choices(WORDS, k=generator.randint(1, 4)) for _ in range(size)]
        (folder / f"{split}.source").write_text("".join(" ".join(s) + "\n" for s in sentences))
        (folder / f"{split}.target").write_text(
            "".join(" ".join(word.upper() for word in reversed(s)) + "\n" for s in sentences)
        )
    return folder


@pytest.fixture(scope="module")
def run(language):
    """A trained run."""
    config = language / "reverse.yaml"
    config.write_text(yaml.safe_dump(settings(language, 220)))
    main(["fit", "--config", str(config), "--trainer.default_root_dir", str(language / "out")])
    (folder,) = (language / "out" / "runs" / "nlp" / "reverse").iterdir()
    return folder


def test_it_learns_to_translate(run):
    metrics = json.loads((run / "results.json").read_text())["metrics"]
    assert metrics["test/bleu_tokenized_lowercase"] > 40  # an untrained model has 0
    assert metrics["test/bleu"] > 40
    assert metrics["test/chrf"] > 60
    assert metrics["test/loss"] < 0.8  # chance is log 6 ≈ 1.8 for a word


def test_figures_of_attention_are_saved(run):
    assert (run / "figures" / "test-read-1.png").exists()


def test_predict_translates_a_file_from_the_checkpoint_alone(run, language, tmp_path):
    (tmp_path / "mine.txt").write_text("one two three\n\nsix ☃ five\n")
    for split in ("train", "val", "test"):  # only the checkpoint is left
        shutil.move(language / f"{split}.source", language / f"{split}.kept")
    try:
        main(
            [
                "predict",
                "--config",
                str(run / "config.yaml"),
                "--ckpt_path",
                "last",
                "--data.path",
                str(tmp_path / "mine.txt"),
                "--output",
                str(tmp_path / "out.jsonl"),
            ]
        )
    finally:
        for split in ("train", "val", "test"):
            shutil.move(language / f"{split}.kept", language / f"{split}.source")
    first, blank, strange = (json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines())
    assert first["translation"] == "THREE TWO ONE"
    assert 0 < first["probability"] <= 1
    assert first["score"] == pytest.approx(math.log(first["probability"]) / len(first["read"]), rel=1e-3)
    assert first["unknown"] == []
    pieces = [max(row["from"], key=row["from"].get) for row in first["read"][:-1]]
    assert {place.split(":")[1].lower().strip("▁") for place in pieces} & {"three", "two", "one"}
    assert blank["translation"] == ""
    assert strange["unknown"] == ["☃"]


def test_files_of_different_length_are_an_error(language, tmp_path, capsys):
    (tmp_path / "short").write_text("one\n")
    config = tmp_path / "broken.yaml"
    made = settings(language, 1)
    made["data"]["init_args"]["train_target"] = str(tmp_path / "short")
    config.write_text(yaml.safe_dump(made))
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(config), "--trainer.default_root_dir", str(tmp_path)])
    assert stop.value.code == 1
    assert "line 2" in capsys.readouterr().err


def test_the_decoder_input_is_shifted():
    target = torch.tensor([[7, 8, 3, 0]])
    assert shift_right(target).tolist() == [[2, 7, 8, 3]]
    assert until_eos(target[0]) == [7, 8, 3]
    assert until_eos(torch.tensor([7, 8])) == [7, 8]


def predict(run, *args):
    main(["predict", "--config", str(run / "config.yaml"), "--ckpt_path", "last", *args])


def test_predict_translates_standard_input_to_standard_output(run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one two\nsix\n")))
    predict(run, "--data.path", "-", "--output", "-")
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["source"], second["source"]) == ("one two", "six")
    assert second["translation"] == "SIX"
    assert {"translation", "probability", "score", "unknown", "cut", "read"} < set(first)
    for row in second["read"]:
        assert 0 < sum(row["from"].values()) <= 1.01


def test_a_sentence_too_long_for_the_memory_is_truncated(run, tmp_path):
    long = " ".join(WORDS * 10)
    (tmp_path / "mine.txt").write_text(f"one two\n{long}\nsix\n")
    output = tmp_path / "out.jsonl"
    with pytest.warns(
        UserWarning, match=r"mine\.txt: 1 of 3 sentences .* truncated to 16 pieces: line 2 \(\d+ pieces"
    ):
        predict(run, "--data.path", str(tmp_path / "mine.txt"), "--output", str(output))
    first, cut, last = (json.loads(line) for line in output.read_text().splitlines())
    assert first["cut"] == last["cut"] == 0
    assert last["translation"] == "SIX"
    assert cut["source"] == long
    assert cut["cut"] > 0
    assert cut["translation"]
    places = {int(part.split(":")[0]) for row in cut["read"] for part in row["from"]}
    assert max(places) <= 15


def test_sentences_are_truncated_to_the_maximum_length(run, tmp_path, monkeypatch):
    monkeypatch.setattr("recollect_nlp.tasks.translation.MAX_LENGTH", 12)  # of the 16 slots
    (tmp_path / "mine.txt").write_text(" ".join(WORDS * 700) + "\nsix\n")
    output = tmp_path / "out.jsonl"
    with pytest.warns(UserWarning, match=r"mine\.txt: 1 of 2 sentences .* truncated to 12 pieces: line 1"):
        predict(run, "--data.path", str(tmp_path / "mine.txt"), "--output", str(output))
    cut, last = (json.loads(line) for line in output.read_text().splitlines())
    assert cut["cut"] > 4000
    assert last["translation"] == "SIX"


def test_results_include_the_signatures_of_the_scores(run):
    notes = json.loads((run / "results.json").read_text())["notes"]
    assert any(note.startswith("test/bleu: nrefs:1") and "tok:13a" in note for note in notes)
    assert any("lowercased,sacremoses" in note for note in notes)


def test_a_wrong_memory_or_wrong_data_is_an_error_of_one_line(language, tmp_path, capsys):
    config = tmp_path / "wrong.yaml"
    for memory, message in (
        ("recollect.MemoryNetwork", "built as configured: the decoder must be a Seq2SeqMemory"),
        (None, "Translation needs a TranslationData for --data, not StoryData"),
    ):
        made = settings(language, 1)
        if memory is not None:
            made["model"]["init_args"]["memory"]["class_path"] = memory
        else:
            made["data"] = {
                "class_path": "recollect_nlp.data.stories.StoryData",
                "init_args": {"stories": 20},
            }
        config.write_text(yaml.safe_dump(made))
        with pytest.raises(SystemExit) as stop:
            main(["fit", "--config", str(config), "--trainer.default_root_dir", str(tmp_path)])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
