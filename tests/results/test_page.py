"""The page, the files and the links between them."""

import re
from pathlib import Path

import pytest

from build import main
from page import pairs, render
from schema import BENCHMARKS, DOMAINS, FOLDER, Benchmark, Headline, Mean, Result, Run, load, save

ROOT = FOLDER.parent
FILES = sorted(FOLDER.rglob("*.json"))
PAGES = [
    FOLDER / "README.md",
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "packages").glob("*/README.md")),
]


def result(value: float = 0.5, memory: str | None = "ExampleMemory", seeds: int = 1, **changes) -> Result:
    runs = [
        Run(
            seed=seed,
            parameters=1000,
            epochs=1,
            steps=10,
            seconds=2.0,
            processor_seconds=None,
            metrics={"test/accuracy": value + seed / 100},
        )
        for seed in range(seeds)
    ]
    fields = {
        "task": "digits",
        "memory": memory,
        "headline": Headline(metric="test/accuracy", label="accuracy", better="higher", digits=3),
        "command": "recollect-vision fit",
        "commit": "0123abc",
        "device": "CPU",
        "runs": runs,
    }
    return Result(**(fields | changes))


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(FOLDER)) for path in FILES])
def test_a_file_follows_the_schema_and_is_written_as_all_are(path: Path, tmp_path: Path):
    kind = Benchmark if path.parent.name == BENCHMARKS else Result
    assert path.parent.name in (*DOMAINS, BENCHMARKS)
    record = load(path, kind)
    save(tmp_path / "again.json", record)
    assert (tmp_path / "again.json").read_text() == path.read_text()


def test_the_page_is_what_the_files_say(capsys: pytest.CaptureFixture[str]):
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_check_tells_a_page_that_differs_and_changes_nothing(tmp_path: Path, capsys):
    save(tmp_path / "vision" / "digits.json", result())
    assert main(["--check"], tmp_path) == 1
    assert not (tmp_path / "README.md").exists()
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    save(tmp_path / "vision" / "digits.json", result(0.6))
    capsys.readouterr()
    assert main(["--check"], tmp_path) == 1
    assert "uv run python results/build.py" in capsys.readouterr().err


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page: Path):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_file_has_its_link_in_the_page():
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    unseen = [path for path in FILES if f"({path.relative_to(FOLDER).as_posix()})" not in page]
    assert unseen == []


def test_a_row_has_both_figures_and_their_difference_with_its_error_over_seeds(tmp_path: Path):
    save(tmp_path / "vision" / "digits.json", result(0.5, seeds=3))
    save(tmp_path / "vision" / "digits+without-memory.json", result(0.4, memory=None, seeds=3))
    page = render(tmp_path)
    # The seeds add 0, 0.01 and 0.02: a standard error of 0.01 / √3 for each mean.
    assert "| [0.410](vision/digits+without-memory.json) | [0.510](vision/digits.json) |" in page
    assert "| +0.100 ± 0.008 (3 seeds) |" in page


def test_one_seed_has_no_error(tmp_path: Path):
    save(tmp_path / "vision" / "digits.json", result(0.5, seeds=1))
    save(tmp_path / "vision" / "digits+without-memory.json", result(0.6, memory=None, seeds=3))
    assert "| −0.110 (one seed) |" in render(tmp_path)


def test_a_seed_counts_once_however_many_cases_it_has():
    def run(seed: int, case: str, value: float) -> Run:
        metrics = {"test/accuracy": value}
        return result().runs[0].model_copy(update={"seed": seed, "case": case, "metrics": metrics})

    estimate = result(
        runs=[run(0, "a", 0.2), run(0, "b", 0.4), run(1, "a", 0.4), run(1, "b", 0.6)]
    ).estimate()
    assert estimate.mean == pytest.approx(0.4)
    assert estimate.standard_error == pytest.approx(0.1)  # of 0.3 and 0.5
    assert (estimate.runs, estimate.seeds) == (4, 2)


def test_a_mean_that_is_known_only_as_such_is_shown():
    known = Mean(mean=0.25, standard_error=None, runs=4, seeds=1)
    assert result(runs=[], summary={"test/accuracy": known}).estimate() == (0.25, None, 4, 1)


def test_a_twin_is_found_by_name_or_named():
    found = {
        "a+b": result(),
        "a+without-memory+b": result(memory=None),
        "c": result(twin="d"),
        "d": result(memory=None),
        "e": result(memory=None),
    }
    rows = [(pair.having and pair.having.name, pair.lacking and pair.lacking.name) for pair in pairs(found)]
    assert rows == [("a+b", "a+without-memory+b"), ("c", "d"), (None, "e")]


def test_a_twin_that_is_missing_or_measures_something_else_is_told():
    with pytest.raises(ValueError, match="a names the twin b, which is not there"):
        pairs({"a": result(twin="b")})
    other = Headline(metric="test/loss", label="loss", better="lower")
    with pytest.raises(ValueError, match="different headlines"):
        pairs(
            {
                "a": result(twin="b"),
                "b": result(
                    memory=None,
                    headline=other,
                    runs=[],
                    summary={"test/loss": Mean(mean=1.0, standard_error=None, runs=1, seeds=1)},
                ),
            }
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surprise": 1}, "Extra inputs"),
        ({"runs": []}, "no run and no summary"),
        ({"commit": "main"}, "pattern"),
        ({"task": ""}, "at least 1 character"),
        ({"runs": [*result().runs, *result().runs]}, "same seed and case"),
        ({"runs": [result().runs[0].model_copy(update={"metrics": {}})]}, "has no test/accuracy"),
    ],
)
def test_what_the_schema_refuses(change, message: str):
    with pytest.raises(ValueError, match=message):
        result(**change)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.5", None])
def test_a_metric_is_a_finite_number(value):
    with pytest.raises(ValueError, match="metrics"):
        Run(
            seed=0,
            parameters=1,
            epochs=1,
            steps=1,
            seconds=1.0,
            processor_seconds=None,
            metrics={"test/a": value},
        )


def test_rows_of_a_benchmark_have_no_other_columns():
    with pytest.raises(ValueError, match="columns lacks: b"):
        Benchmark(
            title="t", command="c", commit=None, device=None, columns={"a": "A"}, rows=[{"a": 1, "b": 2}]
        )
