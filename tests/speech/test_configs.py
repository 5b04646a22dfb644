"""Every packaged config, as it stands, trains and tests on a few recordings of its own kind."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
import torch
import yaml

from recollect_speech.cli import main
from recollect_speech.data import fsdd

from ..twins import Twins, memories_by_config

CONFIGS = {
    path.stem: path
    for path in sorted(Path(str(files("recollect_speech"))).joinpath("configs").glob("*.yaml"))
}
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
SENTENCES = (
    "please call stella",
    "six spoons of fresh snow peas",
    "ask her to bring these things",
    "five thick slabs",
)
Recorder = Callable[..., Path]
Tone = Callable[..., torch.Tensor]


def fsdd_files(record: Recorder, tone: Tone) -> None:
    for speaker in ("george", "theo"):
        for digit in range(10):
            for number in (0, 1, 5, 6, 8, 9):
                samples = tone(0.3, pitch=300 + 50 * digit)
                record(f"fsdd/recordings/{digit}_{speaker}_{number}.wav", samples)


def vctk_files(record: Recorder, tone: Tone, folder: Path) -> None:
    for number in range(12):
        record(f"vctk/vctk_p239_16k/flac/p239_{number:03}.flac", tone(2.5, 16000), 16000)
    lines = [f"p239_{number:03}\t{SENTENCES[number % 4]}." for number in range(12)]
    (folder / "vctk/vctk_p239_16k/transcripts.tsv").write_text("\n".join(lines))


def librispeech_files(record: Recorder, tone: Tone, folder: Path) -> None:
    for part, speaker in (("train-clean-100", 19), ("dev-clean", 20), ("test-clean", 21)):
        place = f"librispeech/LibriSpeech/{part}/{speaker}/198"
        for number in range(8):
            record(f"{place}/{speaker}-198-{number:04}.flac", tone(2.5, 16000), 16000)
        lines = [f"{speaker}-198-{number:04} {SENTENCES[number % 4].upper()}" for number in range(8)]
        (folder / place / f"{speaker}-198.trans.txt").write_text("\n".join(lines) + "\n")


def speechcommands_files(record: Recorder, tone: Tone, folder: Path) -> None:
    place = folder / "speechcommands/SpeechCommands/speech_commands_v0.02"
    for word in ("yes", "no"):
        for speaker in ("a1", "b2", "c3"):
            record(f"{place.relative_to(folder)}/{word}/{speaker}_nohash_0.wav", tone(1, 16000), 16000)
    (place / "validation_list.txt").write_text("yes/b2_nohash_0.wav\nno/b2_nohash_0.wav\n")
    (place / "testing_list.txt").write_text("yes/c3_nohash_0.wav\nno/c3_nohash_0.wav\n")


def yesno_files(record: Recorder, tone: Tone) -> None:
    for number in range(20):
        name = "_".join(f"{number:08b}")
        record(f"yesno/waves_yesno/{name}.wav", tone(2))


def custom_files(record: Recorder, tone: Tone, folder: Path) -> None:
    for number in range(12):
        record(f"custom/{number}.wav", tone(2.5))
    lines = [f"{number}.wav\t{SENTENCES[number % 4]}" for number in range(12)]
    (folder / "custom/list.tsv").write_text("path\ttext\n" + "\n".join(lines))


@pytest.fixture
def small(
    record: Recorder, tone: Tone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, list[str]]:
    """For each data module or config the flags that make it small; its files stand in ``tmp_path``."""
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    fsdd_files(record, tone)
    monkeypatch.setattr(fsdd, "RECORDINGS", 120)
    vctk_files(record, tone, tmp_path)
    librispeech_files(record, tone, tmp_path)
    speechcommands_files(record, tone, tmp_path)
    yesno_files(record, tone)
    custom_files(record, tone, tmp_path)
    (tmp_path / "custom/sentences.txt").write_text("\n".join(SENTENCES))
    many = tmp_path / "custom/many.txt"  # 60 of them are held out
    many.write_text(
        "\n".join(f"{sentence} {number * 'again '}" for number in range(16) for sentence in SENTENCES)
    )
    few = ["--data.train", "20", "--data.val", "4", "--data.test", "4"]
    return {
        "SyntheticDigitsData": few,
        "ConnectedDigitsData": [*few, "--data.synthetic", "4"],
        "FsddData": ["--data.synthetic", "4"],
        "vctk-and-espeak": [
            *("--data.val", "2", "--data.test", "4"),
            *("--data.synthetic", "4", "--data.sentences", str(many)),
        ],
        "VctkData": ["--data.val", "2", "--data.test", "4"],
        "LibriSpeechData": ["--data.subwords", "30", "--data.batch_size", "4"],
        "SpeechCommandsData": [],
        "YesNoData": [],
        "SyntheticSentencesData": [
            *("--data.path", str(tmp_path / "custom/sentences.txt")),
            *("--data.train", "4", "--data.val", "1", "--data.test", "1"),
        ],
        "ManifestData": ["--data.path", str(tmp_path / "custom/list.tsv"), "--data.rate", "8000"],
    }


@pytest.mark.thorough
@pytest.mark.parametrize("name", CONFIGS)
def test_the_config_trains_and_tests(
    name: str, small: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load(CONFIGS[name].read_text())
    flags = small.get(name) or small[config["data"]["class_path"].rpartition(".")[2]]
    main(["fit", "--config", name, *flags, *QUIET, "--trainer.fast_dev_run", "1"])
    reported = {word for line in capsys.readouterr().out.splitlines() for word in line.split()}
    assert {"test/wer", "test/wer_low", "test/wer_high", "test/cer", "test/accuracy", "test/loss"} <= reported
    assert {"test/substitutions", "test/deletions", "test/insertions"} <= reported
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_first_comment_is_the_command(name: str) -> None:
    first = CONFIGS[name].read_text().splitlines()[0]
    command = "# recollect-speech fit" + ("" if name == "digits" else f" --config {name}")
    assert first == command or first.startswith(f"{command} --")


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "roles"), memories_by_config("recollect_speech").items())
def test_the_twin_has_no_memory(
    name: str, roles: list[str], small: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load(CONFIGS[name].read_text())
    flags = small[config["data"]["class_path"].rpartition(".")[2]]
    Twins(monkeypatch, main).check(name, roles, [*flags, *QUIET])


def test_bare_help_names_the_configs(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in CONFIGS)
