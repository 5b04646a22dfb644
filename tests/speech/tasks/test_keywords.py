"""A run from training to words: tones by name, one for a recording."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch
import yaml

from recollect.training import load_run
from recollect.training.errors import ArgumentError
from recollect_speech.cli import main
from recollect_speech.streaming import Transcriber

Tone = Callable[..., torch.Tensor]
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
PITCHES = {"low": 300.0, "mid": 900.0, "high": 2400.0}


def config(manifest: Path) -> dict:
    adam = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-2}}
    sizes = {"bins": 20, "channels": 4, "size": 16, "layers": 1}
    encoder = {"class_path": "recollect_speech.models.keyword_encoder.KeywordEncoder", "init_args": sizes}
    storage = {"class_path": "recollect.VectorStorage", "init_args": {"slots": 40}}
    data = {"path": str(manifest), "rate": 8000, "units": "words", "batch_size": 8}
    saver = {
        "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
        "init_args": {"monitor": "val/wer", "filename": "best", "enable_version_counter": False},
    }
    return {
        "model": {
            "class_path": "recollect_speech.tasks.KeywordSpotting",
            "init_args": {"encoder": encoder, "speaker_memory": storage, "optimizer": adam},
        },
        "data": {"class_path": "recollect_speech.data.manifest.ManifestData", "init_args": data},
        "trainer": {"max_epochs": 5, "log_every_n_steps": 5, "callbacks": [saver]},
    }


def listed(folder: Path, rows: list[str]) -> Path:
    (folder / "list.tsv").write_text("\n".join(["path\ttext\tspeaker", *rows]))
    (folder / "tones.yaml").write_text(yaml.safe_dump(config(folder / "list.tsv")))
    return folder / "tones.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings, their manifest, a config and a trained run; not to be changed."""
    from ..conftest import make_tone

    folder, rows = tmp_path_factory.mktemp("words"), []
    for number in range(90):
        word = list(PITCHES)[number % 3]
        samples = make_tone(0.2 + 0.003 * number, pitch=PITCHES[word])
        soundfile.write(folder / f"{number}.wav", samples.numpy(), 8000)
        rows.append(f"{number}.wav\t{word}\t{('ann', 'bob')[number % 2]}")
    main(["fit", "--config", str(listed(folder, rows)), *QUIET, "--trainer.default_root_dir", str(folder)])
    return folder


def run_of(folder: Path) -> Path:
    return next((folder / "runs" / "speech" / "tones").iterdir())


def test_it_learns_the_words_and_draws_them(folder: Path) -> None:
    results = json.loads((run_of(folder) / "results.json").read_text())["metrics"]
    assert results["test/accuracy"] > 0.9
    assert results["test/deletions"] == results["test/insertions"] == 0
    names = sorted(path.name for path in (run_of(folder) / "figures").glob("test-*"))
    assert names == ["test-word.png"]  # the middle batch has one recording


@pytest.mark.parametrize("size", [1, 16])
def test_predictions_do_not_depend_on_the_batches(folder: Path, tmp_path: Path, size: int) -> None:
    flags = ["--config", str(run_of(folder) / "config.yaml"), "--ckpt_path", "best", *QUIET]
    asked = ["--data.path", str(folder / "list.tsv"), "--data.batch_size", str(size)]
    main(["predict", *flags, *asked, "--output", str(tmp_path / "predictions.jsonl")])
    rows = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert sum(row["text"] == row["reference"] for row in rows) > 0.9 * len(rows)
    for row in rows:
        (word,) = row["words"]
        assert (word["word"], word["start"]) == (row["text"], 0)
        assert word["end"] == pytest.approx(row["seconds"], abs=0.006)
        assert 0 < word["confidence"] <= 1


def test_training_is_the_same_without_memory(folder: Path, tmp_path: Path) -> None:
    given = ["--config", str(folder / "tones.yaml"), *QUIET, "--trainer.default_root_dir", str(tmp_path)]
    main(["fit", *given, "--model.speaker_memory", "null"])
    with_memory, without = (
        torch.load(run_of(root) / "checkpoints" / "best.ckpt", weights_only=False)["state_dict"]
        for root in (folder, tmp_path)
    )
    assert set(with_memory) - set(without) == {
        "model.memory._extra_state",
        "model.memory.log_temperature",
        "model.memory.storage.log_sharpness",
    }
    assert all(torch.equal(with_memory[name], weights) for name, weights in without.items())


def test_a_word_unknown_in_training_counts_as_an_error(
    folder: Path, tmp_path: Path, tone: Tone, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.3).numpy(), 8000)
    (tmp_path / "new.tsv").write_text("path\ttext\na.wav\tstrange\n")
    flags = ["--config", str(run_of(folder) / "config.yaml"), "--ckpt_path", "best", *QUIET]
    main(["test", *flags, "--data.test", str(tmp_path / "new.tsv")])
    rows = [
        line.split("│")[1:3] for line in capsys.readouterr().out.splitlines() if line.startswith("│ test/")
    ]
    values = {name.strip(): float(value) for name, value in rows}
    assert (values["test/accuracy"], values["test/wer"]) == (0, 1)
    assert values["test/loss"] > 80


def test_keyword_spotting_cannot_be_streamed(folder: Path) -> None:
    with pytest.raises(
        ArgumentError, match="streaming needs a run of Recognition, got one of KeywordSpotting"
    ):
        Transcriber.of(load_run(run_of(folder)))


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        ("low mid", [], "the transcript of 0.wav is 'low mid': KeywordSpotting needs one word per recording"),
        ("low", ["--data.units", "characters"], "KeywordSpotting needs --data.units words, not characters"),
        ("low", ["--model.label_smoothing", "1"], "label_smoothing must be in [0, 1)"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, tone: Tone, capsys: pytest.CaptureFixture[str], text: str, flags: list[str], message: str
) -> None:
    rows = []
    for number in range(12):
        soundfile.write(tmp_path / f"{number}.wav", tone(0.3).numpy(), 8000)
        rows.append(f"{number}.wav\t{'low' if number else text}\tann")
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(listed(tmp_path, rows)), *flags, *QUIET, "--trainer.fast_dev_run", "20"])
    assert message in " ".join(capsys.readouterr().err.split())
