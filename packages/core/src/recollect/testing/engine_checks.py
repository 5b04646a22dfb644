"""What every engine must do, one promise after the other."""

import time
from collections.abc import Callable

import torch

from recollect.ops.distance import METRICS, row_distance
from recollect.testing.engine_trial import (
    EngineMaker,
    assert_empty_rows_are_zero,
    assert_refused,
    new_rows,
    scan,
)

ODD_SOURCES = (
    "",
    "a 'quoted' one",
    'a "quoted" one',
    "back\\slash \\' \\\" \\n",
    "' or 1 == 1 or source == '",
    '" or row >= 0 or source == "',
    "'; drop table rows; --",
    "a%b_c*d?[e]{f}",
    "line\nbreak\ttab",
    "Grüße 你好 🙂 \u202e",
    " leading and trailing ",
    "long " * 500,
)
"""Names of sources that break a filter which does not escape them."""


def check_search(make: EngineMaker) -> None:
    """A search returns the nearest rows, nearest first, in every metric."""
    for metric in METRICS:
        engine = make(metric)
        nothing = engine.search(torch.ones(2, engine.key_size), 3)
        assert (nothing.rows == -1).all(), "an empty store has no rows"
        assert_empty_rows_are_zero(nothing.rows, nothing.keys, nothing.values)
        keys, values = new_rows(engine, 12, seed=1)
        numbers = engine.add(keys, values)
        assert numbers.dtype == torch.int64, "numbers of rows increase"
        assert (numbers.diff() > 0).all(), "numbers of rows increase"
        queries, _ = new_rows(engine, 5, seed=2)
        found = engine.search(queries, 4)
        distance = row_distance(queries, keys.expand(5, -1, -1), metric)
        best = distance.topk(4, largest=False).indices
        assert torch.equal(found.rows, numbers[best]), f"{metric}: the nearest rows, nearest first"
        assert torch.equal(found.keys, keys[best]), f"{metric}: keys of the rows that were found"
        assert torch.equal(found.values, values[best]), f"{metric}: values of the rows that were found"
        few = engine.search(queries, 20)
        assert ((few.rows >= 0).sum(-1) == 12).all(), "a search for more rows than there are finds all"
        assert (few.rows[:, 12:] == -1).all(), "and no row after them"
        assert_empty_rows_are_zero(few.rows, few.keys, few.values)
        none = engine.search(torch.empty(0, engine.key_size), 3)
        assert none.rows.shape == (0, 3), "no queries"
        assert none.values.shape == (0, 3, engine.value_size), "no queries"
        assert engine.add(keys[:0], values[:0]).shape == (0,), "no rows to add"


def check_spaces(make: EngineMaker) -> None:
    """Spaces do not see each other; they may be any number up to 2⁶² and come one to a row or query."""
    engine = make("l2")
    keys, values = new_rows(engine, 6, seed=1)
    spaces = torch.tensor([0, 1, 2**62, 1, 0, 2**62])
    numbers = engine.add(keys, values, space=spaces)
    for space in (0, 1, 2**62, 77):
        own = numbers[spaces == space]
        found = engine.search(keys, 6, space=space).rows
        assert all(set(row.tolist()) - {-1} == set(own.tolist()) for row in found), "rows of another space"
        assert engine.count(space) == len(own), "count of a space"
        assert engine.sources(space) == ({"": len(own)} if len(own) else {}), "sources of a space"
        assert torch.equal(scan(engine, space=space)[0], own), "scan of a space"
    mixed = engine.search(keys, 1, space=spaces).rows.squeeze(-1)
    assert torch.equal(mixed, numbers), "each query searches its own space"
    assert engine.count(None) == 6, "all spaces"
    assert engine.sources(None) == {"": 6}, "all spaces"
    assert torch.equal(scan(engine, space=None)[0], numbers), "scan of all spaces"
    assert engine.erase(numbers[spaces == 1]) == 2
    assert engine.count(1) == 0
    assert engine.count(0) == 2


def check_erase(make: EngineMaker) -> None:
    """What is erased is gone at once, and its number is never used again."""
    engine = make("l2")
    keys, values = new_rows(engine, 8, seed=1)
    numbers = engine.add(keys, values, sources=list("aabbccdd"))
    unknown = torch.tensor([-1, int(numbers.max()) + 1000])
    assert engine.erase(unknown) == 0, "numbers without a row are ignored"
    assert engine.count() == 8, "numbers without a row are ignored"
    assert engine.erase(torch.empty(0, dtype=torch.int64)) == 0, "nothing to erase"
    gone, kept = numbers[[1, 7]], numbers[[0, 2, 3, 4, 5, 6]]
    assert engine.erase(torch.cat([gone, gone, unknown])) == 2, "an erase returns the number of rows"
    assert engine.erase(gone) == 0, "what is gone is not erased again"
    found = engine.search(keys, 8)
    assert not torch.isin(found.rows, gone).any(), "an erased row is still found"
    assert torch.equal(scan(engine)[0], kept), "an erased row is still there"
    assert engine.count() == 6, "an erased row is still there"
    assert engine.sources() == {"a": 1, "b": 2, "c": 2, "d": 1}, "sources after an erase"
    again = engine.add(keys[:1], values[:1])
    assert int(again) > int(numbers.max()), "a number is used again"
    assert engine.erase(kept[:2], purge=True) == 2, "a purge erases"
    assert engine.count() == 5, "a purge erases"
    engine.erase(scan(engine)[0])
    assert engine.count() == 0, "an emptied store is empty"
    assert (engine.search(keys, 2).rows == -1).all(), "an emptied store is empty"


def check_origins(make: EngineMaker) -> None:
    """Each row keeps its source, whatever its letters, and the time when it was written."""
    engine = make("l2")
    count = len(ODD_SOURCES)
    keys, values = new_rows(engine, count, seed=1)
    before = time.time()
    numbers = engine.add(keys, values, sources=ODD_SOURCES)
    after = time.time()
    origins = engine.origins(torch.cat([numbers.flip(0), torch.tensor([-1])]))
    assert origins.pop() is None, "a number without a row has no origin"
    for origin, number, source in zip(origins, numbers.flip(0).tolist(), ODD_SOURCES[::-1], strict=True):
        assert origin is not None, "an origin names its row"
        assert origin.row == number, "an origin names its row"
        assert origin.source == source, f"source {source!r} became {origin.source!r}"
        assert before - 0.01 <= origin.time <= after + 0.01, "time of a write"
    assert engine.sources() == dict.fromkeys(ODD_SOURCES, 1), "sources of all rows"
    for number, source in zip(numbers.tolist(), ODD_SOURCES, strict=True):
        assert scan(engine, [source])[0].tolist() == [number], f"rows of the source {source!r}"
    assert scan(engine, ["unknown", *ODD_SOURCES[1:3]])[0].tolist() == numbers[1:3].tolist()
    assert scan(engine, [])[0].tolist() == [], "rows of no source"
    engine.erase(numbers[:1])
    assert engine.origins(numbers[:1]) == [None], "an erased row has no origin"


def check_scan(make: EngineMaker) -> None:
    """A scan reads every row once, in the order of numbers, a few at a time."""
    engine = make("l2")
    keys, values = new_rows(engine, 11, seed=1)
    numbers = torch.cat([engine.add(keys[n : n + 4], values[n : n + 4], "s") for n in (0, 4, 8)])
    for size in (1, 4, 11, 100):
        blocks = list(engine.scan(size=size))
        assert max(len(block.origins) for block in blocks) <= size, "more rows than the size"
        assert [o.row for block in blocks for o in block.origins] == numbers.tolist(), "order of a scan"
        assert torch.equal(torch.cat([block.keys for block in blocks]), keys), "keys of a scan"
        assert torch.equal(torch.cat([block.values for block in blocks]), values), "values of a scan"
    for block in engine.scan(size=3):  # erasing what a scan has read disturbs it not
        engine.erase(torch.tensor([o.row for o in block.origins]))
    assert engine.count() == 0, "a scan that erases what it read skipped rows"
    assert list(engine.scan()) == [], "an empty store"


def check_version(make: EngineMaker) -> None:
    """The version differs after each change, and stays as it is without one."""
    engine = make("l2")
    keys, values = new_rows(engine, 3, seed=1)
    seen = [engine.version]

    def changed() -> None:
        assert engine.version not in seen, "the version is the same after a change"
        seen.append(engine.version)
        engine.search(keys, 2)
        engine.count()
        assert engine.version == seen[-1], "the version changed without a change"

    first = engine.add(keys, values)
    changed()
    engine.erase(first[:1])
    changed()
    second = engine.add(keys[:1], values[:1])
    changed()
    engine.erase(torch.cat([first, second]))
    changed()


def check_claim(make: EngineMaker) -> None:
    """A store takes the keys of one model only."""
    engine = make("cosine")
    manifest = engine.manifest
    assert (manifest["key_size"], manifest["value_size"]) == (engine.key_size, engine.value_size)
    assert manifest["metric"] == engine.metric == "cosine", "the metric is in the manifest"
    engine.claim("model-a")
    engine.claim("model-a")
    assert engine.manifest["fingerprint"] == "model-a", "the fingerprint is in the manifest"
    message = assert_refused(lambda: engine.claim("model-b"))
    assert "model-a" in message, f"the error does not name both models: {message}"
    assert "model-b" in message, f"the error does not name both models: {message}"


def check_bad_input(make: EngineMaker) -> None:
    """What does not fit is refused, and nothing of it is stored."""
    engine = make("l2")
    keys, values = new_rows(engine, 3, seed=1)
    bad: dict[str, Callable[[], object]] = {
        "keys that are too narrow": lambda: engine.add(keys[:, 1:], values),
        "values that are too narrow": lambda: engine.add(keys, values[:, 1:]),
        "a key too many": lambda: engine.add(keys, values[:2]),
        "a key that is not finite": lambda: engine.add(
            keys.index_fill(1, torch.tensor([0]), torch.nan), values
        ),
        "a value that is not finite": lambda: engine.add(keys, values * torch.inf),
        "a source too few": lambda: engine.add(keys, values, sources=["a", "b"]),
        "a source that cannot be encoded": lambda: engine.add(keys, values, sources="\ud800"),
        "a space too few": lambda: engine.add(keys, values, space=torch.tensor([0, 1])),
        "a negative space": lambda: engine.add(keys, values, space=-1),
        "a space that is no integer": lambda: engine.add(keys, values, space=torch.ones(3)),
        "queries that are too wide": lambda: engine.search(torch.cat([keys, keys], 1), 2),
        "a single query without an axis": lambda: engine.search(keys[0], 2),
        "no neighbours": lambda: engine.search(keys, 0),
        "spaces that do not go with the queries": lambda: engine.search(keys, 1, torch.tensor([0])),
        "a scan of no rows at a time": lambda: list(engine.scan(size=0)),
    }
    for name, call in bad.items():
        assert_refused(call, name)
    assert engine.count(None) == 0, "a part of what was refused is stored"


def check_default_device(make: EngineMaker) -> None:
    """What an engine returns is on the CPU, whatever the default device."""
    engine = make("l2")
    keys, values = new_rows(engine, 3, seed=1)
    spaces = torch.zeros(3, dtype=torch.int64)
    with torch.device("meta"):
        numbers = engine.add(keys, values, "s")
        found = [engine.search(keys, 4), engine.search(keys, 4, spaces)]
        (block,) = engine.scan(["s"])
        assert engine.erase(numbers[:1]) == 1, "an erase with another default device"
    for one in found:
        assert torch.equal(one.rows[:, 0], numbers), "a search with another default device"
        assert torch.equal(one.values[:, 0], values), "a search with another default device"
    assert torch.equal(block.keys, keys), "a scan with another default device"


def check_compact(make: EngineMaker) -> None:
    """Compacting changes no answer, and closing twice does no harm."""
    engine = make("l2")
    for n in range(5):
        numbers = engine.add(*new_rows(engine, 3, seed=n), sources=f"s{n}")
        engine.erase(numbers[:1])
    queries, _ = new_rows(engine, 4, seed=9)
    before, rows = engine.search(queries, 6), scan(engine)
    engine.compact()
    for ours, theirs in zip(engine.search(queries, 6), before, strict=True):
        assert torch.equal(ours, theirs), "a search after compacting"
    assert all(torch.equal(a, b) for a, b in zip(scan(engine), rows, strict=True)), "a scan after compacting"
    engine.close()
    engine.close()
