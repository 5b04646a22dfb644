"""What the command line answers before anything heavy is imported."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from recollect_cli import command_line
from recollect_cli.configs import find_config, headline, package_configs, read_config
from recollect_cli.errors import CheckpointError
from recollect_cli.front import answer
from recollect_cli.request import read_request
from recollect_cli.signatures import signature

PACKAGES = {
    "recollect_nlp": "stories",
    "recollect_recsys": "tastes",
    "recollect_speech": "digits",
    "recollect_timeseries": "co2",
    "recollect_vision": "digits",
}
HEAVY = ("torch", "numpy", "lightning", "recollect", "jsonargparse", "matplotlib")

EVERY_CONFIG = [(package, name) for package in PACKAGES for name in package_configs(package)]


def refused(package: str, *args: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command line is refused."""
    with pytest.raises(SystemExit) as stop:
        command_line(package, PACKAGES[package])(args)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["fit", "--config", "folder", "--help"], 0),
        (["fitt"], 2),
        (["fit", "--config", "didgits"], 2),
        (["fit", "--trainer.max_epoch", "3"], 2),
        (["fit", "--model.memory.prototyps", "3"], 2),
        (["calibrate", "--help"], 0),
        (["calibrate"], 2),
        (["calibrate", "missing"], 1),
    ],
)
def test_answers_come_within_a_second_of_processor_time_and_import_nothing_heavy(args: list[str], code: int):
    program = (
        "import sys\n"
        "from recollect_vision.cli import main\n"
        "try:\n"
        f"    main({args!r})\n"
        "finally:\n"
        f"    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


@pytest.mark.parametrize("package", PACKAGES)
def test_help_lists_every_config_with_a_line_about_it(package: str):
    text = answer(package, PACKAGES[package], ["--help"])
    assert text is not None
    for name, path in package_configs(package).items():
        assert headline(path)
        assert any(line.startswith(f"  {name} ") for line in text.splitlines()), name
    for word in (
        "fit",
        "validate",
        "test",
        "predict",
        "wandb",
        "ddp",
        "without-memory",
        f"without --config: {PACKAGES[package]}",
    ):
        assert word in text


@pytest.mark.parametrize(("package", "config"), EVERY_CONFIG)
def test_help_of_a_config_lists_the_flags_of_its_task_and_data(package: str, config: str):
    text = answer(package, PACKAGES[package], ["fit", "--config", config, "--help"])
    assert text is not None
    for flag in ("--model.optimizer", "--data.", "--trainer.max_epochs", "--ckpt_path"):
        assert f"  {flag}" in text
    assert "cannot be read" not in text
    assert not re.search(r"\n +(See|As in) ``", text)  # a flag inherits the text of the base's argument


def test_help_of_a_config_says_what_a_flag_means_and_what_it_is_set_to():
    text = answer("recollect_vision", "digits", ["fit", "--help", "--model.per_class", "3"])
    assert text is not None
    (line,) = [line for line in text.splitlines() if line.startswith("  --data.batch_size")]
    described = text[text.index(line) :].split("  --data.")[1]
    assert "default: 64" in described
    assert len(described.split()) > 4


def test_the_version_is_that_of_the_package():
    assert answer("recollect_vision", "digits", ["--version"]).split()[0] == "recollect-vision"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["fitt"], "no such command: 'fitt'; did you mean fit?"),
        (["digits"], "fit --config digits"),
        (["fit", "digits"], "flags follow fit"),
        (["fit", "--config", "didgits"], "did you mean 'digits'?"),
        (["fit", "--config", "missing.yaml"], "missing.yaml: there is no such file"),
        (["fit", "--config"], "--config needs a value"),
        (["fit", "--trainer.max_epoch", "3"], "did you mean --trainer.max_epochs?"),
        (["fit", "--max_epochs", "3"], "--max_epochs: no such flag"),
        (["fit", "--modle.memory", "x"], "--modle.memory: no such flag"),
        (["fit", "--model.per_clas", "3"], "did you mean --model.per_class?"),
        (["fit", "--model.batch_size", "3"], "did you mean --data.batch_size?"),
        (["fit", "--model.lr", "3"], "did you mean --model.optimizer.lr?"),
        (["fit", "--model.memory.init_args.prototyps=3"], "did you mean --model.memory.prototypes?"),
        (
            ["fit", "--model.optimizer", "torch.optim.SGD", "--model.optimizer.betas", "1"],
            "SGD has no argument",
        ),
        (["fit", "--data.path", "my"], "configs whose data has it: --config folder"),
        (["fit", "--output", "x"], "--output: no such flag"),
    ],
)
def test_a_mistake_is_one_line_with_the_nearest_right_name(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert said in refused("recollect_vision", *args, capsys=capsys)


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--model.optimizer", "torch.optim.SGD", "--model.optimizer.momentum", "0.9"],
        ["--model.optimizer={class_path: torch.optim.SGD}", "--model.optimizer.nesterov", "true"],
        ["--model.memory", "null"],
        ["--model.memory", "some.module.not.Installed", "--model.memory.anything", "1"],
        ["--model", "some.module.not.Installed", "--model.anything", "1"],
        ["--trainer.callbacks+", "ModelCheckpoint", "--trainer.callbacks.monitor", "val/loss"],
        ["--model.memory.storage.init_args.slots", "5", "--trainer.limit_val_batches", "-3"],
        ["--print_config"],
    ],
)
def test_what_may_be_right_is_left_to_the_parser(args: list[str]):
    assert answer("recollect_vision", "digits", ["fit", *args]) is None


def made_up_run(root: Path, domain: str, name: str, settings: str) -> Path:
    run = root / "runs" / domain / name / "2026-01-31_12-00-00"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").touch()
    (run / "config.yaml").write_text(settings)
    return run


def test_data_of_ones_own_is_refused_by_a_run_on_built_in_data_with_the_config_to_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    settings = find_config("co2", "recollect_timeseries").read_text()
    run = made_up_run(tmp_path, "timeseries", "co2", settings)
    asked = ["predict", "--ckpt_path", "last", "--data.path", "my.csv"]
    told = refused("recollect_timeseries", *asked, "--trainer.default_root_dir", str(tmp_path), capsys=capsys)
    assert "Co2Data has no argument 'path'; configs whose data has it: --config csv" in told
    told = refused("recollect_timeseries", *asked, "--config", str(run / "config.yaml"), capsys=capsys)
    assert "--config csv" in told


def test_flags_are_checked_against_the_classes_of_the_run_not_of_the_packaged_config(tmp_path: Path):
    settings = find_config("csv", "recollect_timeseries").read_text()
    made_up_run(tmp_path, "timeseries", "co2", settings)
    asked = ["predict", "--ckpt_path", "best", "--data.path", "my.csv"]
    root = ["--trainer.default_root_dir", str(tmp_path)]
    assert answer("recollect_timeseries", "co2", [*asked, *root]) is None


def test_a_checkpoint_that_is_missing_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = ["--trainer.default_root_dir", str(tmp_path)]
    for checkpoint, said in (("last", "no run of 'digits'"), ("gone.ckpt", "there is no such file")):
        with pytest.raises(SystemExit) as stop:
            command_line("recollect_vision", "digits")(["test", "--ckpt_path", checkpoint, *root])
        assert stop.value.code == 1
        assert said in capsys.readouterr().err
    assert "needs --ckpt_path" in refused("recollect_vision", "test", *root, capsys=capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("package", "config"), EVERY_CONFIG)
def test_a_packaged_config_given_as_a_file_is_right(package: str, config: str, tmp_path: Path):
    copy = tmp_path / "mine.yaml"
    copy.write_bytes(find_config(config, package).read_bytes())
    assert answer(package, PACKAGES[package], ["fit", "--config", str(copy)]) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "trainer: {max_epoch: 3}",
            "mine.yaml: trainer.max_epoch: no such flag; did you mean trainer.max_epochs?",
        ),
        (
            "model: {init_args: {memory: {init_args: {prototyps: 3}}}}",
            "did you mean model.memory.prototypes?",
        ),
        ("modell: {}", "mine.yaml: modell: no such flag; did you mean model?"),
        ("trainer: [", "not a YAML file"),
        ("- 1", "expected settings by name, found a list"),
    ],
)
def test_a_mistake_in_a_config_file_names_the_file(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "mine.yaml").write_text(text)
    told = refused(
        "recollect_vision",
        "fit",
        "--config",
        "digits",
        "--config",
        str(tmp_path / "mine.yaml"),
        capsys=capsys,
    )
    assert said in told


def test_a_signature_follows_re_exports_and_base_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "made_up"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from .inner import Child as Renamed, Point\nfrom missing import Gone\n"
    )
    (package / "inner.py").write_text(
        "import abc\n"
        "class Base(abc.ABC):\n"
        "    '''Base.\n\n    Args:\n        size: Its size.\n    '''\n"
        "    def __init__(self, size: int, *, depth: int = 2): ...\n"
        "class Child(Base):\n    def __init__(self, name: str, **kwargs): ...\n"
        "class Fixed(Base):\n    def __init__(self, **kwargs):\n        super().__init__(size=3, **kwargs)\n"
        "class Opaque(Unknown):\n    pass\n"
        "class Point(NamedTuple):\n    x: float\n    y: float = 0.0\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    child = signature("made_up.Renamed")
    assert child is not None
    assert {name: item.default for name, item in child.parameters.items()} == {
        "name": None,
        "size": None,
        "depth": "2",
    }
    assert any("Its size." in docstring for docstring in child.docstrings)
    assert list(signature("made_up.inner.Fixed").parameters) == ["depth"]
    assert list(signature("made_up.Point").parameters) == ["x", "y"]
    assert signature("made_up.inner.Opaque") is None
    assert signature("made_up.Gone") is None
    assert signature("made_up.Nothing") is None


def test_a_command_of_a_package_that_is_elsewhere(tmp_path: Path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "training" / "packages")}
    code = "from recollect_tiny.cli import main; main(['--help'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "recall" in done.stdout


# --- the twin without memory --------------------------------------------------------------------------------


def test_without_memory_stands_for_flags_and_a_name():
    twin = read_request(
        "recollect_vision", "digits", ["fit", "--config", "without-memory", "--data.size", "8"]
    )
    assert [path.stem for path in twin.paths] == ["digits"]
    assert twin.rest == [
        *("--model.memory", "null", "--model.example_memory", "null"),
        *("--data.size", "8"),
    ]
    assert twin.name == "digits+without-memory"
    more = ["--config", "wandb", "--config", "without-memory"]
    last = read_request("recollect_speech", "digits", ["fit", "--config", "fsdd", *more])
    assert [path.stem for path in last.paths] == ["fsdd", "wandb"]
    assert last.rest == ["--model.speaker_memory", "null"]
    assert last.name == "fsdd+without-memory"


@pytest.mark.parametrize(
    ("package", "config"), [("recollect_speech", "vctk"), ("recollect_timeseries", "smap-pca")]
)
def test_a_config_without_a_memory_has_no_twin(package: str, config: str, capsys):
    said = refused(package, "fit", "--config", config, "--config", "without-memory", capsys=capsys)
    assert said.endswith(f"error: --config without-memory: {config} has no memory\n")


def test_help_of_the_twin_shows_that_its_memories_are_null():
    given = ["fit", "--config", "fsdd", "--config", "without-memory", "--help"]
    text = answer("recollect_speech", "digits", given)
    assert text.startswith("usage: recollect-speech fit --config fsdd --config without-memory ")
    described = text.split("  --model.speaker_memory\n")[1].split("  --model.")[0]
    assert "(default: null)" in " ".join(described.split())


def test_a_run_of_the_twin_is_found_by_the_same_configs(tmp_path: Path):
    run = tmp_path / "runs" / "vision" / "digits+without-memory" / "2026-01-31_12-00-00"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").touch()
    (run / "config.yaml").write_text((find_config("digits", "recollect_vision")).read_text())
    root = ["--trainer.default_root_dir", str(tmp_path), "--ckpt_path", "last"]
    twin = ["--config", "digits", "--config", "without-memory"]
    found = read_request("recollect_vision", "digits", ["test", *twin, *root])
    assert (found.run, found.paths, found.name) == (run, [run / "config.yaml"], "digits+without-memory")
    again = read_request(
        "recollect_vision", "digits", ["fit", "--config", str(run / "config.yaml"), *root[2:]]
    )
    assert (again.run, again.name) == (run, "digits+without-memory")
    with pytest.raises(CheckpointError, match="no run of 'digits'"):
        read_request("recollect_vision", "digits", ["test", "--config", "digits", *root])


def test_every_memory_of_a_config_is_an_argument_of_the_task_that_may_be_null():
    for package, name in EVERY_CONFIG:
        settings = read_config(package_configs(package)[name])
        task = signature(settings["model"]["class_path"])
        roles = [role for role in task.parameters if role == "memory" or role.endswith("_memory")]
        assert all(task.parameters[role].default == "None" for role in roles), name
        nested = [place for place in dotted(settings["model"]["init_args"]) if place.endswith("memory")]
        assert set(nested) <= set(roles), name


def dotted(settings: dict, prefix: str = "") -> list[str]:
    """Names of all settings, with those that they stand in."""
    names = []
    for name, value in settings.items():
        names += [f"{prefix}{name}"]
        names += dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else []
    return names
