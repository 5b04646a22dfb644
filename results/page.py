"""``results/README.md``, made from the files beside it."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from schema import BENCHMARKS, DOMAINS, TWIN, Benchmark, Headline, Result, benchmarks, results

TITLES = {
    "nlp": "Language",
    "vision": "Vision",
    "speech": "Speech",
    "recsys": "Recommendation",
    "timeseries": "Time series",
}

INTRODUCTION = """\
# Results

`uv run python results/build.py` makes this page from the JSON files beside it; a test holds them together.
Every figure links to its file, which has the exact command, commit, device, seeds and all other metrics.
What the figures mean stands in [docs/results](../docs/results/README.md), a page for each domain.

Δ is the figure with memory minus the figure without; ± is its standard error over seeds, which one seed
cannot give. ↑ and ↓ say which way is better. Choices, that of the tested checkpoint included, are made on
validation, unless the remarks say otherwise. A model without a counterpart, such as a baseline, has one
figure. *CPU* after a time is processor time, all threads together. Published figures are quoted from the
papers named, with their own splits and budgets.

To add a measurement: `uv run python results/build.py add RUN [RUN …]`, with the run folders of an experiment.
"""

HEADER = (
    "task",
    "metric",
    "without memory",
    "with memory",
    "Δ ± standard error",
    "parameters",
    "device",
    "time",
    "published",
)


class Named(NamedTuple):
    """A result and the name of its file."""

    name: str
    result: Result


class Pair(NamedTuple):
    """What stands in one row: one of the two may be missing."""

    having: Named | None
    lacking: Named | None

    @property
    def first(self) -> Named:
        """The result that names the row."""
        found = self.having or self.lacking
        assert found is not None
        return found


def render(folder: Path) -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for domain in DOMAINS:
        remarks = f"Remarks: [docs/results/{domain}.md](../docs/results/{domain}.md)"
        rows = [_row(domain, pair) for pair in pairs(results(folder, domain))]
        parts.append(f"## {TITLES[domain]}\n\n{remarks}\n\n{_table(HEADER, rows)}")
    parts.append("## Speed\n\nEach table is what one run of a script in `benchmarks/` measured.\n")
    parts += [_benchmark(name, found) for name, found in benchmarks(folder).items()]
    return "\n".join(parts)


def pairs(found: dict[str, Result]) -> list[Pair]:
    """Each result with memory beside its twin, and the results without memory that are nobody's twin.

    Raises:
        ValueError: If a twin is named that is not there, or has another headline.
    """
    having = [Pair(Named(name, found[name]), _twin(name, found)) for name in found if found[name].memory]
    taken = {pair.lacking.name for pair in having if pair.lacking}
    alone = [Pair(None, Named(name, found[name])) for name in found if not found[name].memory]
    rows = having + [pair for pair in alone if pair.first.name not in taken]
    return sorted(rows, key=lambda pair: list(found).index(pair.first.name))


def _twin(name: str, found: dict[str, Result]) -> Named | None:
    named = found[name].twin
    candidates = [named] if named else [other for other in found if TWIN in other and _plain(other) == name]
    if not candidates:
        return None
    if candidates[0] not in found:
        raise ValueError(f"{name} names the twin {candidates[0]}, which is not there")
    result = found[candidates[0]]
    if result.headline.metric != found[name].headline.metric:
        raise ValueError(f"{name} and {candidates[0]} have different headlines")
    return Named(candidates[0], result)


def _plain(name: str) -> str:
    return name.replace(TWIN, "")


def _row(domain: str, pair: Pair) -> list[str]:
    name, result = pair.first
    headline = result.headline
    shown = [named.result for named in (pair.lacking, pair.having) if named]
    return [
        f"{result.task} (`{name}`)",
        f"{headline.label} {'↑' if headline.better == 'higher' else '↓'}",
        _figure(domain, pair.lacking),
        _figure(domain, pair.having),
        _difference(pair),
        _several(_parameters(part) for part in shown),
        _several(part.device or "–" for part in shown),
        _several(_time(part) for part in shown),
        _published(result),
    ]


def _figure(domain: str, named: Named | None) -> str:
    if named is None:
        return "–"
    value = number(named.result.estimate().mean, named.result.headline)
    return f"[{value}]({domain}/{named.name}.json)"


def _difference(pair: Pair) -> str:
    if pair.having is None or pair.lacking is None:
        return "–"
    headline = pair.having.result.headline
    ours, theirs = pair.having.result.estimate(), pair.lacking.result.estimate()
    delta = number(ours.mean - theirs.mean, headline, signed=True)
    if ours.standard_error is None or theirs.standard_error is None:
        return f"{delta} (one seed)"
    error = (ours.standard_error**2 + theirs.standard_error**2) ** 0.5
    return f"{delta} ± {number(error, headline)} ({min(ours.seeds, theirs.seeds)} seeds)"


def number(value: float, headline: Headline, signed: bool = False) -> str:
    """A figure as the table shows it.

    Example:
        >>> accuracy = Headline(metric="a", label="a", better="higher", digits=1, percent=True)
        >>> number(-0.0123, accuracy, signed=True)
        '−1.2'
    """
    scaled = value * 100 if headline.percent else value
    return f"{scaled:{'+' if signed else ''}.{headline.digits}f}".replace("-", "−")


def _parameters(result: Result) -> str:
    return _span([run.parameters for run in result.runs], thousands)


def thousands(count: float) -> str:
    """A number of parameters, short.

    Example:
        >>> thousands(285_412), thousands(1_500_000)
        ('285 k', '1.5 M')
    """
    if count < 10_000:
        return f"{count:,.0f}"
    return f"{count / 1e3:.0f} k" if count < 1e6 else f"{count / 1e6:.1f} M"


def _time(result: Result) -> str:
    spent = _span([run.processor_seconds for run in result.runs], duration)
    return f"{spent} CPU" if spent != "–" else _span([run.seconds for run in result.runs], duration)


def duration(seconds: float) -> str:
    """A time, short.

    Example:
        >>> duration(9.4), duration(71), duration(4800), duration(7320)
        ('9 s', '71 s', '80 min', '122 min')
    """
    if seconds < 1:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 180 else f"{seconds / 60:.0f} min"


def _span(values: Sequence[float | None], show: Callable[[float], str]) -> str:
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return "–"
    low, high = show(min(known)), show(max(known))
    return low if low == high else f"{low} to {high}"


def _several(texts: Iterable[str]) -> str:
    """Texts of the results without and with memory: one of them where they are alike."""
    return " / ".join(dict.fromkeys(texts))


def _published(result: Result) -> str:
    metric, shown = result.headline.metric, []
    for paper in result.published:
        if metric in paper.metrics:
            value = number(paper.metrics[metric], result.headline)
            remarks = ", ".join(text for text in (paper.source, paper.note) if text)
            shown.append(f"{paper.model} {value}" + (f" ({remarks})" if remarks else ""))
    return "<br>".join(shown) or "–"


def _benchmark(name: str, found: Benchmark) -> str:
    rows = [[_cell(row.get(key)) for key in found.columns] for row in found.rows]
    told = "\n".join(f"{note}\n" for note in found.notes)
    head = f"### [{found.title}]({BENCHMARKS}/{name}.json)\n\n`{found.command}` on {found.device or '–'}\n"
    return "\n".join(part for part in (head, told, _table(tuple(found.columns.values()), rows)) if part)


def _cell(value: str | float | int | None) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:,}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
