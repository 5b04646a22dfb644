import copy
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from recollect import (
    Concatenation,
    Fusion,
    GraphMemory,
    MemoryNetwork,
    Parallel,
    Seq2SeqMemory,
    VectorStorage,
)
from recollect.integrations.call import first_output
from recollect.state import detach_state, map_state

D = 8
INTEGRATIONS = {
    "add": Concatenation,
    "concat": partial(Concatenation, mode="concat"),
    "parallel": Parallel,
    "fusion": Fusion,
    "fusion stepwise": partial(Fusion, stepwise=True),
}


def make_memory(width=D, write_on_forward=True):
    return MemoryNetwork(
        width, VectorStorage(width, width, slots=6), hops=1, write_on_forward=write_on_forward
    )


@pytest.fixture(params=INTEGRATIONS)
def integration(request):
    torch.manual_seed(0)
    return INTEGRATIONS[request.param]


@pytest.fixture(params=[name for name in INTEGRATIONS if name != "fusion stepwise"])
def calling_once(request):
    """Those that call the layer once, with all steps."""
    torch.manual_seed(0)
    return INTEGRATIONS[request.param]


def opened(integrated, by=0.3):
    """The same module after its gate has moved, as training would move it."""
    with torch.no_grad():
        gate = integrated.out_proj if isinstance(integrated, Concatenation) else integrated.gate.linear
        gate.weight.normal_(std=by)
        if gate.bias is not None:
            gate.bias.normal_(std=by)
    return integrated


@pytest.mark.parametrize("joined", [Concatenation, Parallel])
def test_further_arguments_reach_the_memory(joined):
    torch.manual_seed(0)
    memory = GraphMemory(D, VectorStorage(D, D, slots=4))
    integrated = opened(joined(nn.Identity(), memory))
    x, state = torch.randn(1, 2, D), memory.write(memory.initial_state(1), torch.randn(1, 3, D))
    nodes = torch.tensor([[1, -1]])
    alone, _ = memory(x, state, nodes=nodes)
    y, _ = integrated(x, state, memory_kwargs={"nodes": nodes})
    factor = 1 if joined is Concatenation else integrated.gate(x)
    added = integrated.out_proj(alone) if joined is Concatenation else alone
    torch.testing.assert_close(y, x + factor * added)
    assert not y.equal(integrated(x, state)[0])


def test_at_first_the_layer_is_what_it_was(integration):
    layer = nn.Linear(D, D)
    integrated = integration(layer, make_memory())
    x, state = torch.randn(2, 5, D), None
    # A product of another shape may be rounded otherwise: what is called step by step is compared with that.
    calls = x.split(1, 1) if getattr(integrated, "stepwise", False) else [x]
    expected = torch.cat([layer(call) for call in calls], 1)
    for _ in range(3):
        y, state = integrated(x, state)
        assert torch.equal(y, expected)


def test_in_bfloat16_too(integration):
    layer = nn.Linear(D, D)
    integrated = integration(layer, make_memory())
    x = torch.randn(2, 5, D)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = layer(x)
        y, _ = integrated(x)
    assert y.dtype == expected.dtype
    assert torch.equal(y, expected)


def test_the_gate_learns_first_and_then_the_memory(integration):
    integrated = integration(nn.Linear(D, D), make_memory())
    x, target = torch.randn(2, 2, 5, D), torch.randn(2, 5, D)
    optimizer = torch.optim.SGD(integrated.parameters(), lr=0.5)

    def gradients():
        optimizer.zero_grad()
        _, state = integrated(x[0])
        y, _ = integrated(x[1], state)
        (y - target).square().mean().backward()
        names = dict(integrated.named_parameters())
        return {n: p.grad.abs().sum() for n, p in names.items() if p.grad is not None}

    first = gradients()
    assert sum(g for n, g in first.items() if n.startswith(("gate", "out_proj"))) > 0
    assert sum(g for n, g in first.items() if n.startswith("memory")) == 0
    optimizer.step()
    second = gradients()
    assert second["memory.out_proj.weight"] > 0
    for part in ("query_proj", "read_proj", "key_proj", "value_proj"):
        assert sum(g for n, g in second.items() if n.startswith(f"memory.{part}")) > 0, part


def test_formulas_written_out():
    layer, x = nn.Linear(D, D), torch.randn(2, 5, D)
    h = layer(x)
    add = opened(Concatenation(layer, make_memory()))
    recalled, after = add.memory(h)
    y, state = add(x)
    torch.testing.assert_close(y, h + recalled @ add.out_proj.weight.T)
    torch.testing.assert_close(state, after)
    concat = opened(Concatenation(layer, make_memory(), mode="concat"))
    both = torch.cat([h, concat.memory(h)[0]], -1)
    projection = concat.out_proj.weight + torch.cat([torch.eye(D), torch.zeros(D, D)], -1)
    torch.testing.assert_close(concat(x)[0], both @ projection.T + concat.out_proj.bias)
    parallel = opened(Parallel(layer, make_memory()))
    gate = (x @ parallel.gate.linear.weight.T + parallel.gate.linear.bias).tanh()
    torch.testing.assert_close(parallel(x)[0], h + gate * parallel.memory(x)[0])
    fusion = opened(Fusion(layer, make_memory()))
    before = fusion.memory.write(fusion.initial_state(2), torch.randn(2, 3, D))
    gate = (x @ fusion.gate.linear.weight.T + fusion.gate.linear.bias).tanh()
    h = layer(x + gate * fusion.memory.read(before, x))
    y, state = fusion(x, before)
    torch.testing.assert_close(y, h)
    torch.testing.assert_close(state, fusion.memory.write(before, h))


@pytest.mark.parametrize("pieces", [[1] * 7, [3, 4], [2, 5]])
@pytest.mark.parametrize("name", ["add", "concat", "parallel", "fusion stepwise"])
def test_any_split_equals_the_whole(name, pieces):
    torch.manual_seed(0)
    integrated = opened(INTEGRATIONS[name](nn.Linear(D, D), make_memory()))
    x, state = torch.randn(2, 7, D), None
    whole, after = integrated(x)
    outputs = []
    for piece in x.split(pieces, 1):
        y, state = integrated(piece, state)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), whole)
    torch.testing.assert_close(state, after)


def test_fusion_reads_what_earlier_calls_wrote_and_not_this_one():
    integrated = opened(Fusion(nn.Linear(D, D), make_memory()))
    x = torch.randn(2, 5, D)
    fresh, state = integrated(x)
    again, _ = integrated(x, state)
    assert not torch.allclose(fresh, again)
    shorter, _ = integrated(x[:, :2])
    torch.testing.assert_close(shorter, fresh[:, :2])


def test_masked_steps_are_kept_from_the_memory(integration):
    integrated = opened(integration(nn.Linear(D, D), make_memory()))
    x = torch.randn(2, 5, D)
    mask = torch.tensor([[True, True, True, False, False]] * 2)
    y, state = integrated(x, step_mask=mask)
    expected, expected_state = integrated(x[:, :3])
    torch.testing.assert_close(y[:, :3], expected)
    torch.testing.assert_close(state, expected_state)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("positional", [True, False])
def test_a_transformer_layers_own_padding_mask_is_heeded(calling_once, batch_first, positional):
    layer = nn.TransformerEncoderLayer(D, 2, 16, dropout=0.0, batch_first=batch_first)
    integrated = opened(calling_once(layer, make_memory()))
    x = torch.randn(2, 5, D)
    padding = torch.tensor([[False, False, False, True, True]] * 2)
    given, short = (x, x[:, :3]) if batch_first else (x.transpose(0, 1), x[:, :3].transpose(0, 1))
    if positional:
        _, state = integrated(given, None, None, padding)
    else:
        _, state = integrated(given, src_key_padding_mask=padding)
    _, expected = integrated(short)
    torch.testing.assert_close(state, expected)
    floating = torch.zeros(2, 5).masked_fill(padding, -torch.inf)
    _, state = integrated(given, src_key_padding_mask=floating)
    torch.testing.assert_close(state, expected)


def test_a_layer_keeps_its_other_arguments_and_outputs(calling_once):
    gru = nn.GRU(D, D, batch_first=True)
    integrated = calling_once(gru, make_memory())
    x, start = torch.randn(2, 5, D), torch.randn(1, 2, D)
    (y, last), state = integrated(x, None, start)
    expected, expected_last = gru(x, start)
    assert torch.equal(y, expected)
    assert torch.equal(last, expected_last)
    (y, _), _ = integrated(x, state, hx=start)
    assert torch.equal(y, expected)


def test_other_widths_are_mapped(integration):
    layer = nn.Linear(5, 7)
    integrated = integration(layer, make_memory(), in_size=5, out_size=7)
    x = torch.randn(2, 4, 5)
    y, state = integrated(x)
    torch.testing.assert_close(y, layer(x))  # one step at a time, a product may round otherwise
    y, _ = opened(integrated)(x, state)
    assert y.shape == (2, 4, 7)
    y.sum().backward()
    missing = {n for n, p in integrated.named_parameters() if p.grad is None and p.requires_grad}
    # Fusion's write is read by the next call only.
    assert not {n for n in missing if not n.startswith(("memory", "keep"))}


@pytest.mark.parametrize(
    ("layer", "x", "layout"),
    [
        (nn.Linear(D, D), torch.randn(3, D), None),
        (nn.Conv1d(D, D, 3, padding=1), torch.randn(3, D, 5), None),
        (nn.Conv2d(D, D, 3, padding=1), torch.randn(3, D, 2, 4), None),
        (nn.Conv2d(D, D, 3, stride=2), torch.randn(3, D, 7, 9), "bchw_pooled"),
        (nn.GRU(D, D), torch.randn(5, 3, D), None),
        (nn.Linear(D, D), torch.randn(5, 3, D), "tbd"),
    ],
    ids=["bd", "bct", "bchw", "bchw_pooled", "gru tbd", "tbd"],
)
def test_layouts_keep_batch_items_apart(calling_once, layer, x, layout):
    integrated = opened(calling_once(layer, make_memory(), layout=layout))
    axis = 1 if layout == "tbd" or isinstance(layer, nn.GRU) else 0
    first = lambda output: output[0] if isinstance(output, tuple) else output  # noqa: E731
    y, state = integrated(x)
    y, _ = integrated(x, state)
    assert first(y).shape == first(layer(x)).shape
    one = x.narrow(axis, 1, 1)
    _, state_of_one = integrated(one)
    y_of_one, _ = integrated(one, state_of_one)
    torch.testing.assert_close(first(y).narrow(axis, 1, 1), first(y_of_one))
    assert not torch.allclose(first(y), first(layer(x)))


def test_images_give_each_position_a_step_row_by_row():
    integrated = Fusion(nn.Conv2d(D, D, 1), Seq2SeqMemory(D, VectorStorage(D, D, slots=9)))
    _, state = integrated(torch.randn(2, D, 2, 3))
    assert (state.storage.presence > 0).sum(-1).tolist() == [6, 6]


def test_the_given_state_is_not_changed_and_none_is_kept(integration):
    integrated = opened(integration(nn.Linear(D, D), make_memory()))
    x = torch.randn(2, 5, D)
    first, state = integrated(x)
    before = map_state(torch.clone, state)
    integrated(x, state)
    torch.testing.assert_close(state, before)
    assert torch.equal(integrated(x)[0], first)


def test_copies_and_saved_weights_compute_the_same(integration):
    integrated = opened(integration(nn.Linear(D, D), make_memory()))
    x = torch.randn(2, 5, D)
    _, state = integrated(x)
    expected, _ = integrated(x, state)
    assert torch.equal(copy.deepcopy(integrated)(x, state)[0], expected)
    other = integration(nn.Linear(D, D), make_memory())
    other.load_state_dict(integrated.state_dict())
    assert torch.equal(other(x, state)[0], expected)


def test_bad_input_is_named(integration):
    integrated = integration(nn.Linear(D, D), make_memory())
    _, state = integrated(torch.randn(2, 5, D))
    with pytest.raises(ValueError, match="2 batch items and the input 3"):
        integrated(torch.randn(3, 5, D), state)
    with pytest.raises(ValueError, match="layout"):
        integration(nn.Linear(D, D), make_memory(), layout="dtb")
    with pytest.raises(ValueError, match="in_size"):
        integration(nn.Linear(D, D), make_memory(), in_size=0)
    with pytest.raises(ValueError, match="step mask"):
        integrated(torch.randn(2, 5, D), step_mask=torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="cannot tell batch from steps"):
        integration(nn.Linear(D, D), make_memory())(torch.randn(2, 3, 5, D))
    with pytest.raises(TypeError, match="given twice"):
        integrated(torch.randn(2, 5, D), state, state=state)
    with pytest.raises(TypeError, match="without its first argument"):
        integrated()


def test_indices_cannot_be_read_before_a_layer_but_an_embedding_can_have_a_memory_after():
    tokens = torch.randint(5, (2, 4))
    embedding = nn.Embedding(5, D)
    y, _ = Concatenation(embedding, make_memory())(tokens)
    assert torch.equal(y, embedding(tokens))
    with pytest.raises(TypeError, match="real vectors"):
        Parallel(embedding, make_memory(), layout="btd")(tokens)


def test_a_layer_may_change_the_number_of_axes():
    layer = nn.Sequential(nn.Conv2d(3, D, 3), nn.Flatten(), nn.Linear(D * 4, D))
    integrated = opened(Concatenation(layer, make_memory()))
    x = torch.randn(2, 3, 4, 4)
    y, _ = integrated(x)
    assert y.shape == (2, D)
    torch.testing.assert_close(y[1:], integrated(x[1:])[0])


def test_a_layer_that_changes_the_number_of_steps_is_refused_where_it_cannot_be():
    strided = nn.Conv2d(D, D, 3, stride=2)
    x = torch.randn(2, D, 7, 7)
    with pytest.raises(ValueError, match="number of steps"):
        Parallel(strided, make_memory())(x)
    assert Concatenation(strided, make_memory())(x)[0].shape == (2, D, 3, 3)


@dataclass
class Output:
    loss: torch.Tensor | None
    hidden: torch.Tensor


class Named(NamedTuple):
    hidden: torch.Tensor
    loss: torch.Tensor


FORMS = {
    "dict": lambda h: {"loss": h.sum(), "hidden": h},
    "ordered dict": lambda h: OrderedDict(loss=h.sum(), hidden=h),
    "dataclass": lambda h: Output(None, h),
    "named tuple": lambda h: Named(h, h.sum()),
    "list": lambda h: [h, None],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_layer_may_give_its_features_in_any_form(calling_once, form):
    class Layer(nn.Linear):
        def forward(self, x):
            return form(super().forward(x))

    integrated = opened(calling_once(Layer(D, D), make_memory()))
    x = torch.randn(2, 5, D)
    _, state = integrated(x)
    output, _ = integrated(x, state)
    plain = nn.Linear(D, D)
    plain.load_state_dict(integrated.layer.state_dict())
    integrated.layer = plain
    expected, _ = integrated(x, state)
    assert type(output) is type(form(expected))
    assert torch.equal(first_output(output), expected)


def test_a_layer_must_give_a_tensor(integration):
    class Wordy(nn.Module):
        def forward(self, x):
            return {"y": "words"}

    with pytest.raises(TypeError, match="tensor"):
        integration(Wordy(), make_memory())(torch.randn(2, 3, D))


ONE_ITEM = {
    "gru": (nn.GRU(D, D), torch.randn(5, D), 1),
    "gru batch first": (nn.GRU(D, D, batch_first=True), torch.randn(5, D), 0),
    "cell": (nn.GRUCell(D, D), torch.randn(D), 0),
    "attention": (nn.TransformerEncoderLayer(D, 2, 16, dropout=0.0), torch.randn(5, D), 1),
    "conv1d": (nn.Conv1d(D, D, 3, padding=1), torch.randn(D, 5), 0),
    "conv2d": (nn.Conv2d(D, D, 3, padding=1), torch.randn(D, 5, 4), 0),
}


@pytest.mark.parametrize(("layer", "x", "axis"), ONE_ITEM.values(), ids=ONE_ITEM)
def test_one_item_without_a_batch_axis_is_a_batch_of_one(calling_once, layer, x, axis):
    integrated = opened(calling_once(layer, make_memory()))
    first = lambda output: output[0] if isinstance(output, tuple) else output  # noqa: E731
    y, state = integrated(x)
    expected, expected_state = integrated(x.unsqueeze(axis))
    torch.testing.assert_close(first(y).unsqueeze(axis), first(expected))
    torch.testing.assert_close(state, expected_state)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed_sequences_are_padded_for_the_memory(calling_once, batch_first, enforce_sorted):
    gru = nn.GRU(D, D, batch_first=batch_first)
    integrated = opened(calling_once(gru, make_memory()))
    lengths = [5, 3, 2] if enforce_sorted else [3, 5, 2]
    items = [torch.randn(length, D) for length in lengths]
    packed = pack_sequence(items, enforce_sorted=enforce_sorted)
    (y, _), state = integrated(packed)
    (y, last), state = integrated(packed, state)
    assert torch.equal(last, gru(packed)[1]) == (calling_once is not Fusion)
    padded, found = pad_packed_sequence(y, batch_first=True)
    assert found.tolist() == lengths
    for index, item in enumerate(items):
        one = item.unsqueeze(0 if batch_first else 1)
        _, state = integrated(one)
        (expected, _), _ = integrated(one, state)
        torch.testing.assert_close(padded[index, : len(item)], expected.squeeze(0 if batch_first else 1))


def test_a_call_with_keywords_only():
    class Block(nn.Module):
        def forward(self, hidden, scale=1.0):
            return hidden * scale

    integrated = opened(Parallel(Block(), make_memory()))
    x = torch.randn(2, 3, D)
    torch.testing.assert_close(integrated(hidden=x, scale=2.0), integrated(x, None, 2.0))


def test_an_attention_mask_marks_padding():
    class Block(nn.Module):
        def forward(self, hidden, attention_mask=None):
            return hidden

    integrated = opened(Concatenation(Block(), make_memory()))
    x = torch.randn(2, 4, D)
    real = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    expected = integrated(x, step_mask=real.bool())
    extended = real.bool()[:, None, None] & torch.ones(4, 4, dtype=torch.bool).tril()
    additive = torch.zeros(2, 1, 4, 4).masked_fill(~extended, torch.finfo(torch.float32).min)
    for mask in (real, real.bool(), real.float(), extended, additive):
        torch.testing.assert_close(integrated(x, attention_mask=mask), expected)
    longer = torch.cat([torch.zeros(2, 3, dtype=torch.int64), real], 1)  # with a cache of three steps
    torch.testing.assert_close(integrated(x, attention_mask=longer), expected)


def test_stepwise_is_for_sequences_and_single_outputs():
    with pytest.raises(TypeError, match="one tensor"):
        Fusion(nn.GRU(D, D), make_memory(), stepwise=True)(torch.randn(4, 2, D))
    with pytest.raises(ValueError, match="stepwise"):
        Fusion(nn.Linear(D, D), make_memory(), stepwise=True)(torch.randn(4, D))


def trained_step(integrated, x):
    """Output, state and gradients of a step, without the graph.

    A graph that lives on keeps the nodes that add up the gradients, each with its stream, and PyTorch warns
    where another stream then uses them.
    """
    integrated.zero_grad()
    y, state = integrated(x)
    y, state = integrated(x, state)
    y.square().mean().backward()
    gradients = [p.grad.clone() for p in integrated.parameters() if p.grad is not None]
    return y.detach(), detach_state(state), gradients


@pytest.mark.gpu
def test_a_stream_of_its_own_changes_nothing_but_when():
    torch.manual_seed(0)
    layer = nn.Sequential(*(nn.Linear(256, 256) for _ in range(8)))
    plain = opened(Parallel(layer, make_memory(256))).cuda()
    aside = Parallel(layer, plain.memory, own_stream=True).cuda()
    aside.load_state_dict(plain.state_dict())
    for _ in range(20):
        x = torch.randn(4, 64, 256, device="cuda")
        torch.testing.assert_close(trained_step(aside, x), trained_step(plain, x))
