"""A loader that shares batches among processes and resumes in the middle of an epoch."""

import heapq
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from recollect.training.seeding import seeded
from recollect.training.workers import leave_signals_to_trainer

Batches = list[list[int]]


def share(batches: Batches, world: int, rank: int) -> Batches:
    """Deal batches out to ``world`` processes, the same number to each; each item occurs once if possible.

    The largest batches are halved until their number is a multiple of ``world``: metrics then are those of
    one process, which they are not when items are repeated to fill up. Only where there are fewer items than
    processes is an item repeated, for every process must take part in every step.

    Example:
        >>> share([[0, 1, 2], [3, 4], [5]], world=2, rank=0), share([[0, 1, 2], [3, 4], [5]], world=2, rank=1)
        ([[0], [3, 4]], [[1, 2], [5]])
        >>> share([[7]], world=2, rank=1)
        [[7]]
    """
    if world == 1 or not batches:
        return batches
    # By size, then by place in the epoch, which the halves of a batch inherit, so that the order is kept.
    heap: list[tuple[int, tuple[int, ...], list[int]]] = [
        (-len(batch), (place,), batch) for place, batch in enumerate(batches)
    ]
    heapq.heapify(heap)
    while len(heap) % world and heap[0][0] <= -2:
        _, place, batch = heapq.heappop(heap)
        for side, half in enumerate((batch[: len(batch) // 2], batch[len(batch) // 2 :])):
            heapq.heappush(heap, (-len(half), (*place, side), half))
    even = [batch for _, _, batch in sorted(heap, key=lambda entry: entry[1])]
    return [even[i % len(even)] for i in range(rank, -(-len(even) // world) * world, world)]


class Loader:
    """The batches of one split, shared among processes; each follows from seed, epoch, number and process.

    The order of the items depends on seed and epoch alone, and random numbers drawn while a batch is made
    (augmentation, noise) on its number besides, whatever the number of workers: ``seeded`` isolates them.
    It is no ``DataLoader``, so that the trainer leaves the sharing to us; it wraps one. Its state is its
    place in the epoch, so that training resumed from a checkpoint in mid-epoch goes on with the batches that
    were left.

    Args:
        dataset: The items.
        collate: Makes a batch of items.
        plan: The batches of a given epoch, before they are shared.
        num_workers: Processes that load.
        world: How many processes share the batches.
        rank: Which of them this is.
        seed: Of the random numbers drawn while batches are made.
        same: Repeat the batches of epoch 0 in every epoch.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        collate: Callable[[list[Any]], Any],
        plan: Callable[[int], Batches],
        num_workers: int = 0,
        world: int = 1,
        rank: int = 0,
        seed: int = 0,
        same: bool = False,
    ) -> None:
        self.dataset = dataset
        self.batch_sampler = _Order(plan, world, rank, same)
        self._taken = 0
        self._loader = DataLoader(
            _Batched(dataset, collate, (seed, rank)),
            sampler=self.batch_sampler,
            batch_size=None,
            collate_fn=_unchanged,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            worker_init_fn=leave_signals_to_trainer,
            generator=torch.Generator(),  # beginning a pass draws nothing from the global one
        )

    def __len__(self) -> int:
        """Number of batches of an epoch on this process."""
        return len(self.batch_sampler.batches())

    def __iter__(self) -> Iterator[Any]:
        """Yield the remaining batches of the current epoch."""
        self._taken = self.batch_sampler.skip
        for batch in self._loader:
            self._taken += 1
            yield batch

    def close(self) -> None:
        """Stop the worker processes; a later pass starts new ones.

        Otherwise they live until the loader is collected, and Python's exit waits seconds for each.
        """
        iterator, self._loader._iterator = self._loader._iterator, None
        if iterator is not None:
            iterator._shutdown_workers()  # type: ignore[attr-defined]

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and the number of batches taken."""
        return {"epoch": self.batch_sampler.epoch, "taken": self._taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore the position: the next pass skips the batches taken."""
        self.batch_sampler.set_epoch(state["epoch"])
        self.batch_sampler.skip = state["taken"] if state["taken"] < len(self) else 0


class _Place(NamedTuple):
    """A batch to make, with its epoch: workers live longer than an epoch."""

    epoch: int
    number: int
    items: list[int]


class _Order(Sampler[_Place]):
    """Yields this process's batches of the current epoch; the trainer calls ``set_epoch``."""

    def __init__(self, plan: Callable[[int], Batches], world: int, rank: int, same: bool) -> None:
        self.plan = plan
        self.world = world
        self.rank = rank
        self.same = same
        self.epoch = 0
        self.skip = 0
        self.sampler = self  # where the trainer looks for set_epoch
        self._planned: tuple[int, Batches] | None = None

    def set_epoch(self, epoch: int) -> None:
        self.epoch = 0 if self.same else epoch

    def batches(self) -> Batches:
        if self._planned is None or self._planned[0] != self.epoch:
            self._planned = (self.epoch, share(self.plan(self.epoch), self.world, self.rank))
        return self._planned[1]

    def __iter__(self) -> Iterator[_Place]:
        skip, self.skip = self.skip, 0
        epoch = self.epoch
        for number, items in enumerate(self.batches()[skip:], skip):
            yield _Place(epoch, number, items)

    def __len__(self) -> int:
        return len(self.batches())


class _Batched(Dataset[Any]):
    """Makes whole batches of a dataset, each with random numbers of its own."""

    def __init__(
        self, dataset: Dataset[Any], collate: Callable[[list[Any]], Any], seeds: tuple[int, int]
    ) -> None:
        self.dataset = dataset
        self.collate = collate
        self.seeds = seeds
        self._many = getattr(dataset, "__getitems__", None)  # torch's name for several items at once

    def __getitem__(self, place: _Place) -> Any:
        with seeded(*self.seeds, place.epoch, place.number):
            items = self._many(place.items) if self._many else [self.dataset[i] for i in place.items]
            return self.collate(items)


def _unchanged(batch: Any) -> Any:
    return batch
