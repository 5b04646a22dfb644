"""Several threads remember and forget while others read: nothing is lost, and no read sees half a change."""

from concurrent.futures import ThreadPoolExecutor

import torch

from recollect import VectorStorage, forget, provenance, remember

CLASSES = 5


def test_threads_that_write_and_read(make_model, make_storage):
    model = make_model(make_storage(), gate=0.9, k=1)
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    memory, keys = model[2].memory.memory, torch.tanh(model[0](x)).detach()

    def write(thread):
        for item in range(3 * thread, 3 * thread + 3):
            memory.remember(keys[item : item + 1], torch.tensor([item % CLASSES]), f"thread {thread}")
        return thread

    def look(_):
        found = memory.lookup(keys)
        # A row is found whole, or not at all.
        there = found.distance[:, 0] == 0
        return bool(
            (found.values[there, 0].argmax(-1) if found.values.shape[-1] > 1 else found.values[there, 0, 0])
            .eq(torch.arange(12)[there] % CLASSES)
            .all()
        )

    with ThreadPoolExecutor(8) as pool:
        looks = pool.map(look, range(20))
        assert sorted(pool.map(write, range(4))) == [0, 1, 2, 3]
        assert all(looks)
    assert provenance(model) == {"2": {f"thread {thread}": 3 for thread in range(4)}}
    assert forget(model, where=lambda origin: origin.source != "thread 2") == 9


def test_a_query_from_another_part_stays_in_its_thread(make_model):
    model = make_model(VectorStorage(8, 1, slots=64), gate=0.9, k=1, query_at="1")
    x = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))
    remember(model, x, torch.arange(32) % CLASSES)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            found = list(pool.map(lambda item: model(x[item : item + 1]).argmax().item(), range(32)))
            assert found == [item % CLASSES for item in range(32)]


def test_threads_may_remember_through_the_model(make_model, make_storage):
    model = make_model(make_storage())
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))

    def write(item):
        return remember(model, x[item : item + 1], torch.tensor([item % CLASSES]), "all").item()

    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(write, range(8)))
    assert len(set(rows)) == 8
    assert provenance(model) == {"2": {"all": 8}}
