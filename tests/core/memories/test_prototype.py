"""A memory of learned prototypes: every state begins with them; what is written or erased is its own."""

import pytest
import torch

from recollect import HashStorage, PrototypeMemory, TemporalLinkStorage, VectorStorage

D = 6


def made(**options):
    torch.manual_seed(0)
    return PrototypeMemory(D, VectorStorage(4, 3, slots=8), prototypes=5, **options)


def test_a_read_is_attention_over_the_learned_entries():
    memory, x = made(), torch.randn(2, 3, D)
    query = torch.nn.functional.normalize(memory.query_proj(memory.norm(x)), dim=-1)
    keys = torch.nn.functional.normalize(memory.keys, dim=-1)
    expected = memory.out_proj((10 * query @ keys.T).softmax(-1) @ memory.values)
    y, state = memory(x)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(memory(x, state)[0], y)


def test_all_that_is_learned_has_a_gradient():
    memory = made()
    memory(torch.randn(2, 3, D))[0].square().sum().backward()
    reached = {name for name, p in memory.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {"keys", "values", "query_proj.weight", "out_proj.weight"} <= reached


def test_what_is_written_is_read_beside_the_prototypes_and_what_is_erased_is_gone():
    memory, x = made(), torch.randn(2, 1, D)
    begin = memory.initial_state(2)
    before = memory.read(begin, x)
    with memory.tracing() as reads:
        written = memory.read(memory.write(begin, x), x)
    assert not torch.allclose(written, before)
    assert (reads[0].weights[..., 5] > reads[0].weights[..., :5].max(-1).values).all()
    torch.testing.assert_close(memory.read(begin, x), before)  # a state is a value
    apart = VectorStorage(4, 3, slots=8, match_start=0.99)
    strict = PrototypeMemory(D, apart, prototypes=5)
    state = strict.initial_state(2)
    torch.testing.assert_close(strict.read(strict.erase(strict.write(state, x), x), x), strict.read(state, x))


def test_reset_brings_the_prototypes_back():
    memory, x = made(), torch.randn(2, 1, D)
    state = memory.write(memory.initial_state(2), x)
    back = memory.reset(state, torch.tensor([True, False]))
    torch.testing.assert_close(memory.read(back, x)[0], memory.read(memory.initial_state(2), x)[0])
    torch.testing.assert_close(memory.read(back, x)[1], memory.read(state, x)[1])


@pytest.mark.parametrize("traced", [False, True])
def test_remembering_any_split_equals_the_whole_and_padding_changes_nothing(traced):
    memory, x = made(write_on_forward=True), torch.randn(2, 4, D)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    whole, after = memory(x, mask=mask)
    assert not whole[1, 2:].any()
    first, state = memory(x[:, :3], mask=mask[:, :3])
    if traced:
        with memory.tracing() as reads:
            last, state = memory(x[:, 3:], state, mask[:, 3:])
        assert len(reads) == 1
    else:
        last, state = memory(x[:, 3:], state, mask[:, 3:])
    torch.testing.assert_close(torch.cat([first, last], 1), whole)
    torch.testing.assert_close(state, after)


def test_storages_of_other_kinds_keep_prototypes_too():
    x = torch.randn(2, 3, D)
    for storage in (
        HashStorage(4, 3, buckets=2, capacity=8, tables=2, entries=8),
        TemporalLinkStorage(4, 3, slots=8),
    ):
        memory = PrototypeMemory(D, storage, prototypes=5)
        y, _ = memory(x)
        y.sum().backward()
        assert torch.isfinite(y).all()
        assert memory.values.grad.abs().sum() > 0


def test_arguments_out_of_range_are_named():
    with pytest.raises(ValueError, match="prototypes must be at least 1"):
        PrototypeMemory(D, VectorStorage(4, 3, slots=8), prototypes=0)
