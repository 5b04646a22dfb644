"""A run from training to transcripts of tones, whole and streamed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch
import yaml

from recollect.training import load_run
from recollect.training.callbacks.parts_summary import parts
from recollect_speech.cli import main
from recollect_speech.data.utterances import read_manifest
from recollect_speech.streaming import Transcriber

Tone = Callable[..., torch.Tensor]
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
PITCHES = {"low": 300.0, "mid": 900.0, "high": 2400.0}
STRINGS = [f"{a} {b} {c}" for a in PITCHES for b in PITCHES for c in PITCHES if not a == b == c]


def speak(text: str, tone: Tone) -> torch.Tensor:
    parts = [torch.cat([tone(0.2, pitch=PITCHES[word]), torch.zeros(1200)]) for word in text.split()]
    return torch.cat([torch.zeros(800), *parts])


SETTINGS = {
    "size": 32,
    "layers": 2,
    "heads": 2,
    "hidden": 48,
    "kernel": 5,
    "chunk": 4,
    "left": 8,
}
MEMORY = {
    "class_path": "recollect_speech.models.summary_memory.SummaryMemory",
    "init_args": {
        "segment": 4,
        "storage": {
            "class_path": "recollect.VectorStorage",
            "init_args": {"key_size": 32, "value_size": 32, "slots": 8, "similarity": "dot"},
        },
    },
}


def config(manifest: Path) -> dict:
    adam = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 5e-3}}
    encoder = {"class_path": "recollect_speech.models.encoder.Encoder", "init_args": SETTINGS}
    data = {"path": str(manifest), "rate": 8000, "units": "words", "ngram": 2, "batch_size": 8}
    sizes = {"bins": 20, "channels": 4, "dropout": 0.0}
    model = {"encoder": encoder, "memory": MEMORY, **sizes, "optimizer": adam}
    saver = {
        "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
        "init_args": {"monitor": "val/wer", "filename": "best", "enable_version_counter": False},
    }
    return {
        "model": {"class_path": "recollect_speech.tasks.Recognition", "init_args": model},
        "data": {"class_path": "recollect_speech.data.manifest.ManifestData", "init_args": data},
        "trainer": {
            "max_epochs": 14,
            "check_val_every_n_epoch": 7,
            "gradient_clip_val": 1.0,
            "log_every_n_steps": 5,
            "callbacks": [saver],
        },
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings, their manifest, a config and a trained run; not to be changed."""
    from ..conftest import make_tone

    folder = tmp_path_factory.mktemp("tones")
    rows = ["path\ttext"]
    for number, text in enumerate(STRINGS * 4):
        soundfile.write(folder / f"{number}.wav", speak(text, make_tone).numpy(), 8000)
        rows.append(f"{number}.wav\t{text}")
    (folder / "list.tsv").write_text("\n".join(rows))
    (folder / "tones.yaml").write_text(yaml.safe_dump(config(folder / "list.tsv")))
    main(["fit", "--config", str(folder / "tones.yaml"), *QUIET, "--trainer.default_root_dir", str(folder)])
    return folder


def run_of(folder: Path) -> Path:
    return next((folder / "runs" / "speech" / "tones").iterdir())


def predict(folder: Path, tmp_path: Path, asked: Path, *more: str) -> list[dict]:
    flags = [
        "--config",
        str(run_of(folder) / "config.yaml"),
        "--ckpt_path",
        "best",
        "--data.path",
        str(asked),
    ]
    main(["predict", *flags, *more, *QUIET, "--output", str(tmp_path / "predictions.jsonl")])
    return [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]


def test_it_learns_the_names_of_the_tones(folder: Path) -> None:
    results = json.loads((run_of(folder) / "results.json").read_text())["metrics"]
    assert results["test/wer"] < 0.1
    assert results["test/wer_low"] <= results["test/wer"] <= results["test/wer_high"]
    names = sorted(path.name for path in (run_of(folder) / "figures").glob("test-*"))
    assert names == ["test-recognition-1.png", "test-recognition-2.png"]  # the middle batch has two


def test_the_summary_counts_all_parameters(folder: Path) -> None:
    found = parts(load_run(run_of(folder)).task.model)
    assert len(found) > 1
    total = sum(part.parameters for part in found)
    assert total == json.loads((run_of(folder) / "results.json").read_text())["parameters"]


def test_words_have_times_and_confidences(folder: Path, tmp_path: Path, tone: Tone) -> None:
    text = "low high mid"
    soundfile.write(tmp_path / "a.wav", speak(text, tone).numpy(), 8000)
    (row,) = predict(folder, tmp_path, tmp_path / "a.wav")
    assert row["path"] == "a.wav"
    assert row["text"] == text
    assert [word["word"] for word in row["words"]] == text.split()
    for number, word in enumerate(row["words"]):
        begins = 0.1 + 0.35 * number
        assert begins - 0.2 < word["start"] < word["end"] < begins + 0.5
        assert 0 < word["confidence"] <= 1
    assert row["notes"] == []
    assert "reference" not in row


def test_recordings_are_spliced_at_the_aligned_words(folder: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "new")
    main(["splice", str(run_of(folder)), "--output", output, "--count", "60", "--span", "1"])
    found = read_manifest(tmp_path / "new" / "train.tsv")
    assert {item.text for item in found} - set(STRINGS)
    right = 0
    for item in found:
        samples = item.samples(8000)
        spectrum = torch.fft.rfft(samples).abs()
        frequency = torch.fft.rfftfreq(len(samples), 1 / 8000)
        loudest = {name: float(spectrum[(frequency - p).abs() < 100].max()) for name, p in PITCHES.items()}
        loud = {name for name, value in loudest.items() if value > 0.1 * max(loudest.values())}
        right += loud == set(item.text.split())
    assert right >= 50


def test_bad_recordings_are_noted(folder: Path, tmp_path: Path, tone: Tone) -> None:
    where = tmp_path / "in"
    where.mkdir()
    soundfile.write(where / "clipped.wav", (9 * speak("low mid", tone)).clamp(-1, 1).numpy(), 8000)
    soundfile.write(where / "silent.wav", torch.zeros(4000).numpy(), 8000)
    soundfile.write(where / "short.wav", torch.zeros(1).numpy(), 8000)
    rows = {row["path"]: row for row in predict(folder, tmp_path, where)}
    assert rows["clipped.wav"]["notes"] == ["clipped"]
    assert rows["silent.wav"]["notes"] == ["silence"]
    assert rows["short.wav"]["notes"] == ["silence"]


def test_an_empty_recording_stops_with_its_name(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "nothing.wav", torch.zeros(0).numpy(), 8000)
    with pytest.raises(SystemExit):
        predict(folder, tmp_path, tmp_path / "nothing.wav")
    assert "nothing.wav is empty" in capsys.readouterr().err


def test_the_transcript_does_not_depend_on_the_batch(folder: Path, tmp_path: Path) -> None:
    by = {
        size: predict(folder, tmp_path, folder / "list.tsv", "--data.batch_size", str(size))
        for size in (1, 16)
    }
    assert [row["text"] for row in by[1]] == [row["text"] for row in by[16]]
    assert all(row["reference"] in STRINGS for row in by[1])


def test_streaming_gives_the_transcript_of_the_whole_recording(
    folder: Path, tmp_path: Path, tone: Tone
) -> None:
    transcriber = Transcriber.of(load_run(run_of(folder)))
    assert transcriber.latency == pytest.approx(0.01 * (4 * 3 + 3) + 0.0125)
    rows = predict(folder, tmp_path, folder / "list.tsv")
    for row in rows[:6]:
        samples = speak(row["reference"], tone)
        texts = [transcriber.push(part) for part in samples.split(700)]
        assert transcriber.finish() == row["text"]
        assert all(row["text"].startswith(text) for text in texts)
        assert texts[-1] != ""


def test_beam_search_with_the_language_model_recognizes_them(folder: Path, tmp_path: Path) -> None:
    beam = ["--model.beam.width", "4", "--model.beam.weight", "0.3"]
    rows = predict(folder, tmp_path, folder / "list.tsv", *beam)
    wrong = sum(row["text"] != row["reference"] for row in rows)
    assert wrong <= 0.1 * len(rows)


@pytest.mark.thorough
def test_warm_start_from_another_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = ["--config", str(folder / "tones.yaml"), *QUIET, "--trainer.default_root_dir", str(tmp_path)]
    start = ["--model.warm_start", str(run_of(folder))]
    short = ["--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "1"]
    main(["fit", *shared, *start, *short, "--model.optimizer.init_args.lr", "1e-9"])
    run = next((tmp_path / "runs" / "speech" / "tones").iterdir())
    assert json.loads((run / "results.json").read_text())["metrics"]["test/wer"] < 0.1
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["init_args"]["warm_start"] = str(tmp_path / "gone")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    load_run(run)  # what training began with is not needed any more
    for flags, message in (
        (["--data.units", "characters"], "has words, not characters, as units"),
        (["--model.bins", "24"], "does not fit"),
    ):
        with pytest.raises(SystemExit):
            main(["fit", *shared, *start, *flags, "--trainer.fast_dev_run", "1"])
        assert message in capsys.readouterr().err


def test_recordings_too_short_for_their_text_are_named(folder: Path, tmp_path: Path, tone: Tone) -> None:
    rows = ["path\ttext"]
    for number in range(6):
        soundfile.write(tmp_path / f"{number}.wav", tone(0.1).numpy(), 8000)
        rows.append(f"{number}.wav\t" + "low mid " * 9)
    (tmp_path / "short.tsv").write_text("\n".join(rows))
    flags = ["--config", str(folder / "tones.yaml"), "--data.path", str(tmp_path / "short.tsv"), *QUIET]
    with pytest.warns(UserWarning, match=r"too short for their transcripts, ignored in training: \d\.wav"):
        main(["fit", *flags, "--trainer.fast_dev_run", "1"])


def test_recognition_needs_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(
            [
                "fit",
                "--data",
                "recollect_speech.data.manifest.ManifestData",
                *QUIET,
                "--trainer.fast_dev_run",
                "1",
            ]
        )
    assert "--data.path must name the training manifest" in capsys.readouterr().err
