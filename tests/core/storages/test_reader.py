import pytest
import torch

from recollect import VectorStorage


@pytest.mark.parametrize("top_k", [None, 2])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("writes", [0, 3, 9])
def test_a_reader_gives_the_reads_and_gradients_of_read(similarity, top_k, writes):
    torch.manual_seed(0)
    storage = VectorStorage(4, 3, slots=6, similarity=similarity, learn_sharpness=True, top_k=top_k).double()
    strength = torch.rand(2, writes, dtype=torch.float64, requires_grad=True)
    key, value, query = (
        torch.randn(2, n, width, dtype=torch.float64, requires_grad=True)
        for n, width in ((writes, 4), (writes, 3), (5, 4))
    )
    inputs = [query, key, value, strength, storage.log_sharpness]
    reads = []
    for make in (lambda state: storage.read(state, query), lambda state: storage.reader(state)(query)):
        read = make(storage.write(storage.initial_state(2), key, value, strength))
        reads.append((read, torch.autograd.grad(read.value.square().sum(), inputs, materialize_grads=True)))
    (plain, plain_grads), (ready, ready_grads) = reads
    torch.testing.assert_close(ready.value, plain.value)
    torch.testing.assert_close(ready_grads, plain_grads)
    slots = plain.weights.shape[-1]
    if ready.slots is not None and top_k is None:
        full = torch.zeros(2, 5, slots, dtype=torch.float64).scatter(-1, ready.slots, ready.weights)
        torch.testing.assert_close(full, plain.weights)


def test_batch_items_of_different_length_keep_their_own_entries():
    storage = VectorStorage(4, 3, slots=6)
    mask = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    state = storage.write(storage.initial_state(3), torch.randn(3, 3, 4), torch.randn(3, 3, 3), mask=mask)
    query = torch.randn(3, 2, 4)
    torch.testing.assert_close(storage.reader(state)(query).value, storage.read(state, query).value)


def test_a_reader_refuses_a_query_of_another_width():
    storage = VectorStorage(4, 3, slots=6)
    with pytest.raises(ValueError, match="query"):
        storage.reader(storage.initial_state(2))(torch.randn(2, 1, 5))
