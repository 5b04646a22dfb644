"""What every engine promises, over the reference engine; and engines that break a promise are caught."""

import time

import pytest
import torch

from recollect.storages import ExternalStorage, Found, Origin
from recollect.storages.engine_input import check_new_rows
from recollect.testing import ENGINE_CHECKS, EXTERNAL_LAWS, ListEngine, check_engine, check_external_storage


@pytest.mark.parametrize("promise", ENGINE_CHECKS)
def test_the_reference_engine_keeps_its_promises(promise: str):
    ENGINE_CHECKS[promise](lambda metric: ListEngine(6, 3, metric))


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
@pytest.mark.parametrize("law", EXTERNAL_LAWS)
def test_law(law: str, metric: str):
    EXTERNAL_LAWS[law](lambda **options: ExternalStorage(ListEngine(6, 3, metric), **options))


class Careless(ListEngine):
    """Breaks one promise on purpose."""

    def __init__(self, broken: str, metric: str) -> None:
        super().__init__(6, 3, metric)
        self.broken = broken

    def add(self, keys, values, sources="", space=0):
        if self.broken == "bad input":  # a part of the rows is stored before the rest is refused
            super().add(keys[:1], values[:1], "", 0)
        if self.broken == "spaces":
            space = 0
        if self.broken == "origins":
            sources = [
                source.strip() for source in check_new_rows(self, keys, values, sources, space).sources
            ]
        if self.broken == "threads":
            first = self._next
            time.sleep(1e-3)
            self._next = first
        return super().add(keys, values, sources, space)

    def search(self, queries, k, space=0):
        found = super().search(queries, k, space)
        if self.broken == "default device":
            return found._replace(values=torch.ones(found.values.shape))
        if self.broken == "search":
            return Found(*(rows.flip(1) for rows in found))
        return found

    def erase(self, rows, *, purge=False):
        if self.broken == "erase":
            return len(rows)
        return super().erase(rows, purge=purge)

    def scan(self, sources=None, space=0, *, size=65536):
        for rows in super().scan(sources, space, size=size):
            yield rows._replace(keys=rows.keys.flip(0)) if self.broken == "scan" else rows

    def sources(self, space=0):
        counts = super().sources(space)
        return counts | {"c": 0} if self.broken == "sequences" else counts

    def compact(self):
        if self.broken == "compact":
            self._rows.popitem()

    def claim(self, fingerprint):
        if self.broken != "claim":
            super().claim(fingerprint)

    @property
    def version(self):
        return self._next if self.broken == "version" else self._version


@pytest.mark.parametrize("broken", ENGINE_CHECKS)
def test_an_engine_that_breaks_a_promise_is_caught(broken: str):
    with pytest.raises((AssertionError, KeyError, NotImplementedError)):
        ENGINE_CHECKS[broken](lambda metric: Careless(broken, metric))


def test_a_broken_promise_is_named():
    with pytest.raises(AssertionError, match="promise 'version'"):
        check_engine(lambda metric: Careless("version", metric))
    with pytest.raises(AssertionError, match="law 'read after write'"):
        check_external_storage(lambda **options: ExternalStorage(Careless("spaces", "l2"), **options))


def test_an_origin_says_when_a_row_was_written():
    engine = ListEngine(1, 1)
    engine.add(torch.ones(1, 1), torch.ones(1, 1), "ticket-4711")
    (origin,) = engine.origins(torch.tensor([0]))
    assert isinstance(origin, Origin)
    assert origin.source == "ticket-4711"
    assert time.time() - origin.time < 60
