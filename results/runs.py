"""From run folders to a file under ``results/``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from commands import NEUTRAL, RunError, experiment_name, general_command
from schema import DOMAINS, TWIN, Headline, Result, Run, load, save


class Record(BaseModel):
    """The fields of a run's ``results.json`` that are needed here."""

    command_line: list[str] = Field(min_length=2)
    commit: str | None
    device: str
    seed: int | None
    parameters: int
    epochs: int
    steps: int
    seconds: float
    metrics: dict[str, FiniteFloat]
    config: dict[str, Any]


class Recorded(NamedTuple):
    """A run folder, its record, and the record as a file under ``results/`` has it."""

    folder: Path
    record: Record
    run: Run


class Description(NamedTuple):
    """What no run knows of itself. Whatever is ``None`` is taken from a file that exists.

    Attributes:
        name: ``DOMAIN/NAME`` of the file; by default it follows from the command.
        like: ``DOMAIN/NAME`` of a file to take task, memory, headline and published figures from.
        task: What is measured.
        memory: The memory that the model has.
        headline: The metric in the table.
        over: Options in which runs may differ, besides the seed, such as ``data.horizon``.
    """

    name: str | None = None
    like: str | None = None
    task: str | None = None
    memory: str | None = None
    headline: Headline | None = None
    over: tuple[str, ...] = ()


def add(root: Path, folders: Sequence[Path], description: Description, replace: bool = False) -> Path:
    """Write the file of an experiment from its runs.

    Runs are added to those that the file already has. A run with the seed and case of an earlier one takes
    its place.

    Args:
        root: The folder ``results/``.
        folders: Run folders of one experiment, each with a ``results.json``.
        description: Its name, and what is not in the folders.
        replace: Whether to drop the runs that the file already has.

    Returns:
        The file.

    Raises:
        RunError: If a folder has no complete ``results.json``, the runs are not of one experiment, or nothing
            says what they measure.
    """
    found = [read(folder, description.over) for folder in folders]
    _check_alike(found, description.over)
    name = description.name or experiment_name(found[0].record.command_line, found[0].folder)
    path = root / f"{name}.json"
    if name.split("/")[0] not in DOMAINS or name.count("/") != 1:
        raise RunError(f"{name} is not DOMAIN/NAME with a domain of {', '.join(DOMAINS)}")
    earlier = load(path, Result) if path.is_file() and not replace else None
    try:
        result = _result(found, _model(root, name, description), description, earlier, TWIN in name)
    except ValidationError as error:
        raise RunError(_reason(error)) from error
    save(path, result)
    return path


def read(folder: Path, over: Sequence[str] = ()) -> Recorded:
    """Read the ``results.json`` of a run.

    Raises:
        RunError: If there is none, or it lacks something.
    """
    path = folder / "results.json"
    if not path.is_file():
        raise RunError(f"{folder} has no results.json")
    try:
        record = Record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise RunError(f"{path} is not the record of a run: {_reason(error)}") from error
    record.config.pop("seed_everything", None)
    run = Run(
        seed=record.seed,
        case=" ".join(f"--{key} {_value(record.config, key, path)}" for key in over) or None,
        parameters=record.parameters,
        epochs=record.epochs,
        steps=record.steps,
        seconds=record.seconds,
        processor_seconds=None,
        metrics=record.metrics,
    )
    return Recorded(folder, record, run)


def _reason(error: ValidationError) -> str:
    """What is wrong, in one line."""
    return "; ".join(
        ": ".join(filter(None, [".".join(map(str, part["loc"])), part["msg"]])) for part in error.errors()
    )


def _check_alike(found: Sequence[Recorded], over: Sequence[str]) -> None:
    first = found[0]
    seen: dict[tuple[int | None, str | None], Path] = {}
    for recorded in found:
        told = (recorded.run.seed, recorded.run.case)
        if told in seen:
            raise RunError(f"{seen[told]} and {recorded.folder} have the same seed, {recorded.run.seed}")
        seen[told] = recorded.folder
    for other in found[1:]:
        for what, one, two in (
            ("commit", first.record.commit, other.record.commit),
            ("device", first.record.device, other.record.device),
            ("metrics", sorted(first.run.metrics), sorted(other.run.metrics)),
        ):
            if one != two:
                raise RunError(f"{first.folder} and {other.folder} differ in {what}: {one} and {two}")
        ours, theirs = _flat(first.record.config), _flat(other.record.config)
        differing = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
        unexpected = [key for key in differing if _short(key) not in over and f"--{key}" not in NEUTRAL]
        if unexpected:
            raise RunError(
                f"{first.folder} and {other.folder} differ in {', '.join(unexpected[:3])}: they are two "
                "experiments, unless --over names the options in which runs may differ"
            )


def _model(root: Path, name: str, description: Description) -> Result | None:
    """The file that says what is measured: the one named, the experiment's own, its twin's, or its base's."""
    domain, _, stem = name.partition("/")
    base = stem.split("+")[0]
    likely = [name, f"{domain}/{stem.replace(TWIN, '')}", f"{domain}/{base}{TWIN}", f"{domain}/{base}"]
    for candidate in [description.like] if description.like else likely:
        path = root / f"{candidate}.json"
        if path.is_file():
            return load(path, Result)
    if description.like:
        raise RunError(f"--like {description.like}: there is no such file")
    return None


def _result(
    found: Sequence[Recorded],
    model: Result | None,
    description: Description,
    earlier: Result | None,
    without: bool,
) -> Result:
    task = description.task or (model and model.task)
    headline = description.headline or (model and model.headline)
    if not task or not headline:
        raise RunError("nothing says what is measured: give --like DOMAIN/NAME, or --task and --metric")
    first = found[0].record
    command = general_command(first.command_line, description.over)
    if earlier:
        _check_continues(earlier, first, command)
    runs = {(run.seed, run.case): run for run in earlier.runs} if earlier else {}
    runs |= {(recorded.run.seed, recorded.run.case): recorded.run for recorded in found}
    return Result(
        task=task,
        memory=None if without else description.memory or (model.memory if model else None),
        twin=model.twin if model and not without else None,
        headline=headline,
        command=command,
        commit=first.commit,
        device=first.device,
        runs=sorted(runs.values(), key=lambda run: (run.case or "", -1 if run.seed is None else run.seed)),
        published=model.published if model else [],
        notes=earlier.notes if earlier else [],
    )


def _check_continues(earlier: Result, first: Record, command: str) -> None:
    for what, one, two in (
        ("commit", earlier.commit, first.commit),
        ("device", earlier.device, first.device),
        ("command", earlier.command, command),
    ):
        if one != two:
            raise RunError(
                f"file and runs differ in {what}: {one} and {two}; --replace drops the earlier figures"
            )


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(config, dict):
        return {prefix: config}
    return {
        key: value
        for name, part in config.items()
        for key, value in _flat(part, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def _short(key: str) -> str:
    """``data.horizon`` for ``data.init_args.horizon``, as the command line has it."""
    return key.replace(".init_args", "")


def _value(config: dict[str, Any], key: str, path: Path) -> Any:
    values = {_short(name): value for name, value in _flat(config).items()}
    if key not in values:
        raise RunError(f"--over {key}: the config in {path} has no such option")
    return values[key]
