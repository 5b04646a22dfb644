"""Every packaged config for classification, as it stands, trains and tests on small images."""

import gzip
import struct
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import yaml

from recollect_vision.cli import main
from recollect_vision.data import fashion_mnist

from ..twins import Twins, memories_by_config

CONFIGS = {
    path.stem: path
    for path in sorted(Path(str(files("recollect_vision"))).joinpath("configs").glob("*.yaml"))
    if "tasks.Classification" in path.read_text()
}
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]


def write_fashion(root: Path, count: int) -> None:
    """Files of Fashion-MNIST's form: ``count`` images of each class."""
    random = np.random.default_rng(0)
    labels = np.tile(np.arange(10, dtype=np.uint8), count)
    images = random.integers(0, 255, (len(labels), 28, 28), dtype=np.uint8)
    raw = root / "fashion-mnist" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for split in ("train", "t10k"):
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
            (raw / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))


@pytest.fixture
def images(monkeypatch, tmp_path, write_images) -> dict[str, list[str]]:
    """For each data module the flags that it needs."""
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fashion_mnist, "SHA256", dict.fromkeys(fashion_mnist.SHA256))
    monkeypatch.setattr(fashion_mnist.FashionMNIST, "download", unpack)
    write_fashion(tmp_path, count=20)
    for split in ("train", "test"):
        write_images(f"cifar10/{split}", classes=("red", "green", "blue", "grey"))
    return {
        "DigitsData": [],
        "FashionMnistData": [],
        "Cifar10Data": [],
        "FolderData": ["--data.path", str(write_images())],
    }


def unpack(dataset) -> None:
    """As torchvision does it, without its checksums, for these are other files."""
    for archive in Path(dataset.raw_folder).glob("*.gz"):
        archive.with_suffix("").write_bytes(gzip.decompress(archive.read_bytes()))


@pytest.mark.thorough
@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_trains_and_tests(name, images, tmp_path, capsys):
    config = yaml.safe_load(CONFIGS[name].read_text())
    flags = images[config["data"]["class_path"].rpartition(".")[2]]
    main(["fit", "--config", name, *flags, *QUIET, "--data.batch_size", "8", "--trainer.fast_dev_run", "2"])
    printed = capsys.readouterr().out
    for metric in ("accuracy", "f1", "ece"):
        assert f"test/{metric} " in printed
    assert "memory/examples" in printed
    assert not (tmp_path / "runs").exists()


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "roles"), memories_by_config("recollect_vision", "Classification").items())
def test_the_twin_has_no_memory(name, roles, images, monkeypatch):
    config = yaml.safe_load(CONFIGS[name].read_text())
    flags = images[config["data"]["class_path"].rpartition(".")[2]]
    Twins(monkeypatch, main).check(name, roles, [*flags, *QUIET, "--data.batch_size", "8"])


@pytest.mark.parametrize("name", CONFIGS)
def test_the_first_comment_is_the_command(name):
    first = CONFIGS[name].read_text().splitlines()[0]
    chosen = "" if name == "digits" else f" --config {name}"
    assert first.startswith(f"# recollect-vision fit{chosen}")


def test_bare_help_names_the_configs(capsys):
    main(["--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in CONFIGS)
