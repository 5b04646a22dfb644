"""Whatever way a memory is read, it is seen."""

import pytest
import torch
from torch import nn

from recollect import Seq2SeqMemory, VectorStorage
from recollect.training.watching import watch

D = 4


@pytest.mark.parametrize("remember", [False, True])
@pytest.mark.parametrize("top_k", [None, 2])
def test_a_decoder_that_reads_step_by_step_is_seen(remember: bool, top_k: int | None):
    model = nn.ModuleDict(
        {"memory": Seq2SeqMemory(D, VectorStorage(D, D, 8, top_k=top_k), remember=remember)}
    )
    memory = model["memory"]
    state = memory.write(memory.initial_state(2), torch.randn(2, 2, D))
    with watch(model) as watched:
        memory(torch.randn(2, 4, D), state)
    figures = watched.figures()
    assert figures["memory.storage/occupancy"] == (0.75 if remember else 0.25)
    assert len(watched.reads["memory"]) == 4
    assert "memory/read_entropy" in figures


@pytest.mark.parametrize("top_k", [None, 2])
def test_a_bare_storage_s_reader_is_seen_once_a_read(top_k: int | None):
    storage = VectorStorage(D, D, 8, top_k=top_k)
    state = storage.write(storage.initial_state(), torch.randn(2, D), torch.randn(2, D))
    with watch(nn.ModuleDict({"store": storage})) as watched:
        look = storage.reader(state)
        for _ in range(3):
            look(torch.randn(1, D))
    assert len(watched.reads["store"]) == 3
    assert watched.figures()["store/occupancy"] == 0.25
    assert not {"read", "reader", "scan"} & vars(storage).keys()
