"""What a file under ``results/`` holds: one experiment, or one benchmark of speed.

A fact that is not known is ``null``. Nothing is estimated.
"""

from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeFloat,
    NonNegativeInt,
    model_validator,
)

FOLDER = Path(__file__).parent
DOMAINS = ("nlp", "vision", "speech", "recsys", "timeseries")
BENCHMARKS = "benchmarks"
TWIN = "+without-memory"
"""The part of a name that tells an experiment without its memory from the one with it."""

Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """Refuses fields that the schema does not know, and values of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Record = TypeVar("Record", bound=Strict)


class Headline(Strict):
    """The metric that stands in the table.

    Attributes:
        metric: Its name in ``Run.metrics``, as ``results.json`` of a run writes it.
        label: What the table calls it, with its unit.
        better: Which way is better.
        digits: Digits after the point in the table.
        percent: Whether the table shows it times 100.
    """

    metric: Text
    label: Text
    better: Literal["higher", "lower"]
    digits: NonNegativeInt = 4
    percent: bool = False


class Run(Strict):
    """One training and test.

    Attributes:
        seed: The seed of the run.
        case: The flags, besides the seed, in which the run differs from the others of its file.
        parameters: Number of parameters of the model.
        epochs: Epochs trained.
        steps: Optimiser steps trained.
        seconds: Wall-clock seconds.
        processor_seconds: Seconds of processor time, all threads together.
        metrics: Figures by name. ``<name>_se`` is the standard error within the run, ``<name>_ci95`` half the
            width of its 95 % interval, ``<name>_low`` and ``<name>_high`` are the ends of an interval, and
            ``<name>_std`` is a standard deviation.
    """

    seed: NonNegativeInt | None
    case: Text | None = None
    parameters: NonNegativeInt | None
    epochs: NonNegativeInt | None
    steps: NonNegativeInt | None
    seconds: NonNegativeFloat | None
    processor_seconds: NonNegativeFloat | None
    metrics: dict[Text, FiniteFloat]


class Mean(Strict):
    """A figure that is known only as the mean over runs.

    Attributes:
        mean: The mean.
        standard_error: Its standard error over seeds, if known.
        runs: Number of runs that it is the mean of.
        seeds: Number of different seeds among them.
    """

    mean: FiniteFloat
    standard_error: NonNegativeFloat | None
    runs: Annotated[int, Field(ge=1)]
    seeds: Annotated[int, Field(ge=1)]


class Published(Strict):
    """A figure from the literature.

    Attributes:
        model: The model it is of.
        metrics: Figures by the names that ``Run.metrics`` uses.
        source: Author, year, and arXiv number, DOI or address; ``None`` where it was quoted without.
        note: In what the figure differs from ours, if in anything.
    """

    model: Text
    metrics: dict[Text, FiniteFloat]
    source: Text | None
    note: Text | None = None


class Estimate(NamedTuple):
    """A headline figure: mean over runs, standard error over seeds (``None`` for one seed), and counts."""

    mean: float
    standard_error: float | None
    runs: int
    seeds: int


class Result(Strict):
    """An experiment: runs of one command that differ in seed and, where named, in a case.

    Attributes:
        task: What is measured, in words.
        memory: The memory that the model has; ``None`` without one.
        twin: The result to compare with, where it is not the one with ``+without-memory`` in its name.
        headline: The metric in the table.
        command: The exact command, without the seed and the flags of cases.
        commit: The commit that the figures are of.
        device: The machine.
        runs: One entry a run.
        summary: Figures that are known only as means, by name.
        published: Figures from the literature.
        notes: What a reader has to know to read the figures.
    """

    task: Text
    memory: Text | None
    twin: Text | None = None
    headline: Headline
    command: Text
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7,40}(-dirty)?$")] | None
    device: Text | None
    runs: list[Run]
    summary: dict[Text, Mean] = {}
    published: list[Published] = []
    notes: list[Text] = []

    @model_validator(mode="after")
    def _check(self) -> "Result":
        metric = self.headline.metric
        if metric not in self.summary:
            if not self.runs:
                raise ValueError(f"there is no run and no summary of {metric}")
            lacking = [run for run in self.runs if metric not in run.metrics]
            if lacking:
                raise ValueError(f"the run of seed {lacking[0].seed} has no {metric}, the headline")
        told = [(run.seed, run.case) for run in self.runs]
        if len(set(told)) < len(told):
            raise ValueError("two runs have the same seed and case")
        return self

    def estimate(self) -> Estimate:
        """The headline figure. With several cases each seed counts once, as the mean over its cases."""
        metric = self.headline.metric
        if metric in self.summary:
            known = self.summary[metric]
            return Estimate(known.mean, known.standard_error, known.runs, known.seeds)
        by_seed: dict[int | None, list[float]] = {}
        for run in self.runs:
            by_seed.setdefault(run.seed, []).append(run.metrics[metric])
        means = [fmean(values) for values in by_seed.values()]
        error = stdev(means) / len(means) ** 0.5 if len(means) > 1 else None
        return Estimate(fmean(means), error, len(self.runs), len(means))


class Benchmark(Strict):
    """A table that a script of ``benchmarks/`` has printed.

    Attributes:
        title: What is compared.
        command: The exact command.
        commit: The commit that the figures are of.
        device: The machine.
        columns: Headings by key, with units.
        rows: Values by key; a key that is missing or ``None`` was not measured.
        notes: What a reader has to know to read the figures.
    """

    title: Text
    command: Text
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7,40}(-dirty)?$")] | None
    device: Text | None
    columns: Annotated[dict[Text, Text], Field(min_length=1)]
    rows: Annotated[list[dict[str, str | float | int | None]], Field(min_length=1)]
    notes: list[Text] = []

    @model_validator(mode="after")
    def _check(self) -> "Benchmark":
        unknown = sorted({key for row in self.rows for key in row} - set(self.columns))
        if unknown:
            raise ValueError(f"rows have keys that columns lacks: {', '.join(unknown)}")
        return self


def load(path: Path, kind: type[Record]) -> Record:
    """Read and check a file."""
    return kind.model_validate_json(path.read_text(encoding="utf-8"))


def save(path: Path, record: Strict) -> None:
    """Write a file as all of them are written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")


def results(folder: Path, domain: str) -> dict[str, Result]:
    """The results of a domain by name, in order of task and name."""
    found = {path.stem: load(path, Result) for path in sorted((folder / domain).glob("*.json"))}
    return dict(sorted(found.items(), key=lambda item: (item[1].task.casefold(), item[0])))


def benchmarks(folder: Path) -> dict[str, Benchmark]:
    """The benchmarks by name."""
    return {path.stem: load(path, Benchmark) for path in sorted((folder / BENCHMARKS).glob("*.json"))}
