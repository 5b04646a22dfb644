"""Attribution of reads to sentences."""

import pytest
import torch

from recollect import HashStorage, LinkedStorage, Read, Storage, TemporalLinkStorage, VectorStorage
from recollect_nlp.models.attribution import has_entry_per_sentence, sentence_weights

STORAGES = [
    VectorStorage(4, 4, slots=6),
    VectorStorage(4, 4, slots=6, policy="lru"),
    HashStorage(4, 4),
    TemporalLinkStorage(4, 4, slots=6),
    LinkedStorage(4, 4, slots=6),
]


@pytest.mark.parametrize("storage", STORAGES, ids=lambda storage: type(storage).__name__)
def test_entries_are_in_the_order_of_the_sentences(storage: Storage) -> None:
    keys = torch.randn(1, 5, 4)
    state = storage.write(storage.initial_state(1), keys, keys)
    read = storage.read(state, keys[:, 3:4])
    assert has_entry_per_sentence([(storage, state)], torch.tensor([5])).tolist() == [True]
    assert sentence_weights([read], 0, 5)[0].argmax() == 3


def test_merged_or_evicted_sentences_are_not_attributed() -> None:
    lengths = torch.tensor([2, 2])
    keys = torch.eye(4)[torch.tensor([[0, 0], [0, 1]])]
    storage = VectorStorage(4, 4, slots=6, policy="content")
    state = storage.write(storage.initial_state(2), keys, keys)
    assert has_entry_per_sentence([(storage, state)], lengths).tolist() == [False, True]
    short = VectorStorage(4, 4, slots=1)
    state = short.write(short.initial_state(2), keys, keys)
    assert has_entry_per_sentence([(short, state)], lengths).tolist() == [False, False]


def test_weights_of_slots_are_attributed_to_sentences() -> None:
    read = Read(torch.zeros(1, 1, 2), torch.tensor([[[0.7, 0.3]]]), torch.tensor([[[2, 0]]]))
    torch.testing.assert_close(sentence_weights([read], 0, 3), torch.tensor([[0.3, 0.0, 0.7]]))
