"""Every packaged config trains and tests on a few items."""

import gzip
import random
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from recollect.training.download import checksum
from recollect_nlp.cli import main
from recollect_nlp.data import multi30k

from ..twins import Twins, memories_by_config

CONFIGS = {
    path.stem: path for path in sorted(Path(str(files("recollect_nlp"))).joinpath("configs").glob("*.yaml"))
}
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
FAST = ["--trainer.fast_dev_run", "2"]

STORY = "1 Mary went to the kitchen.\n2 Mary took the football.\n3 Where is the football?\tkitchen\t1 2\n"

REPORTED = {
    "QuestionAnswering": {"test/accuracy", "test/mean_error", "test/failed_tasks", "test/loss"},
    "Translation": {"test/bleu", "test/bleu_tokenized_lowercase", "test/chrf", "test/loss"},
}


def sentences(size: int) -> list[str]:
    generator = random.Random(size)
    words = ["a", "dog", "cat", "man", "runs", "sits", "here", "red", "ball"]
    return [" ".join(generator.choices(words, k=4)) for _ in range(size)]


def parallel_text(folder: Path, suffix: str) -> dict[str, Path]:
    """Captions and the same in capitals, in the splits of Multi30k."""
    made = {}
    for name, size in (("train", 60), ("val", 4), ("test_2016_flickr", 4)):
        for language, turn in (("en", str), ("de", str.upper)):
            text = "".join(f"{turn(line)}\n" for line in sentences(size)).encode()
            path = folder / f"{name}.{language}{suffix}"
            path.write_bytes(gzip.compress(text) if suffix == ".gz" else text)
            made[path.name] = path
    return made


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Flags that make each data module small, with files in ``tmp_path``."""
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    (tmp_path / "custom.txt").write_text(STORY * 20)
    (tmp_path / "multi30k").mkdir()
    made = parallel_text(tmp_path / "multi30k", ".gz")
    monkeypatch.setattr(multi30k, "SHA256", {name: checksum(path) for name, path in made.items()})
    return {
        "StoryData": ["--data.stories", "200", "--data.held_out", "5"],
        "BabiData": ["--data.path", str(tmp_path / "custom.txt")],
        "Multi30kData": ["--data.vocabulary_size", "60", "--data.batch_pieces", "64"],
    }


@pytest.mark.thorough
@pytest.mark.parametrize("name", CONFIGS)
def test_the_config_trains_and_tests(
    name: str, small: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load(CONFIGS[name].read_text())
    flags = small[config["data"]["class_path"].rpartition(".")[2]]
    main(["fit", "--config", name, *flags, *FAST, *QUIET, "--trainer.default_root_dir", str(tmp_path)])
    reported = {word for line in capsys.readouterr().out.splitlines() for word in line.split()}
    assert REPORTED[config["model"]["class_path"].rpartition(".")[2]] <= reported
    assert not (tmp_path / "runs").exists()


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "roles"), memories_by_config("recollect_nlp").items())
def test_the_twin_has_no_memory(
    name: str, roles: list[str], small: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load(CONFIGS[name].read_text())
    flags = small[config["data"]["class_path"].rpartition(".")[2]]
    Twins(monkeypatch, main).check(name, roles, [*flags, *QUIET])


@pytest.mark.parametrize("name", CONFIGS)
def test_the_first_comment_is_the_command(name: str) -> None:
    first = CONFIGS[name].read_text().splitlines()[0]
    command = "# recollect-nlp fit" + ("" if name == "stories" else f" --config {name}")
    assert first == command or first.startswith(f"{command} --")


def test_custom_parallel_text_replaces_multi30k(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parallel_text(tmp_path, "")
    flags = ["--data", "recollect_nlp.data.translation.TranslationData", "--data.vocabulary_size", "60"]
    for split, name in (("train", "train"), ("val", "val"), ("test", "test_2016_flickr")):
        for side, language in (("source", "en"), ("target", "de")):
            flags += [f"--data.{split}_{side}", str(tmp_path / f"{name}.{language}")]
    root = ["--trainer.default_root_dir", str(tmp_path)]
    main(["fit", "--config", "multi30k", *flags, *FAST, *QUIET, *root])
    assert "test/bleu" in capsys.readouterr().out


# --- the real files -----------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:.*only the last 96 are kept")  # of qa2 and qa3, as documented
def test_the_babi_config_trains_on_babi(tmp_path: Path) -> None:
    main(["fit", "--config", "babi", *FAST, *QUIET, "--trainer.default_root_dir", str(tmp_path)])


@pytest.mark.data
@pytest.mark.parametrize(("source", "target"), [("de", "en"), ("en", "fr")])
def test_multi30k_trains_in_other_directions(source: str, target: str, tmp_path: Path) -> None:
    ways = ["--data.source", source, "--data.target", target, "--trainer.default_root_dir", str(tmp_path)]
    main(["fit", "--config", "multi30k-recurrent", *ways, *FAST, *QUIET])
