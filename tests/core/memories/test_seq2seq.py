import pytest
import torch
from functorch.compile import make_boxed_func
from torch import nn
from torch._dynamo.backends.common import aot_autograd

from recollect import Seq2SeqMemory, VectorStorage, validation
from recollect.memories import seq2seq
from recollect.state import map_state, select_items

D, K, V = 6, 5, 4
STORAGES = {
    "vector": lambda: VectorStorage(K, V, slots=7, similarity="dot"),
    "vector cosine": lambda: VectorStorage(K, V, slots=7),
    "vector top-k": lambda: VectorStorage(K, V, slots=7, top_k=3),
}


def tensors(state):
    nested = ([item] if isinstance(item, torch.Tensor) else tensors(item) for item in state)
    return [leaf for leaves in nested for leaf in leaves]


def assert_same_state(one, other):
    for a, b in zip(tensors(one), tensors(other), strict=True):
        torch.testing.assert_close(a, b)


@pytest.fixture(params=STORAGES)
def storage(request):
    torch.manual_seed(0)
    return STORAGES[request.param]()


@pytest.fixture(params=["gru", "lstm"])
def memory(request, storage):
    return Seq2SeqMemory(D, storage, cell=request.param)


def written(memory, batch=2):
    return memory.write(memory.initial_state(batch), torch.randn(batch, 5, memory.model_size))


def test_the_recurrence_is_the_formula_written_out():
    """GRU: h_t = f([x_t; c_{t−1}], h_{t−1}); c_t = Attention(W_q h_t); y_t = tanh(W_c [c_t; h_t])."""
    torch.manual_seed(0)
    memory = Seq2SeqMemory(D, VectorStorage(K, V, slots=3, similarity="dot", sharpness=1.0))
    source, x = torch.randn(1, 3, D), torch.randn(1, 4, D)
    y, state = memory(x, memory.write(memory.initial_state(1), source))
    cell = nn.GRUCell(D + V, D)
    with torch.no_grad():
        cell.weight_ih.copy_(torch.cat([memory.gates_input.weight, memory.gates_context.weight], 1))
        cell.weight_hh.copy_(memory.gates_hidden.weight)
        cell.bias_ih.copy_(memory.gates_input.bias)
        cell.bias_hh.copy_(memory.gates_hidden.bias)
    keys, values = source[0] @ memory.key_proj.weight.T, source[0] @ memory.value_proj.weight.T
    hidden, context = torch.zeros(D), torch.zeros(V)
    for t in range(4):
        hidden = cell(torch.cat([x[0, t], context])[None], hidden[None])[0]
        context = (keys @ (memory.query_proj.weight @ hidden)).softmax(0) @ values
        expected = (memory.out_proj.weight @ torch.cat([context, hidden])).tanh()
        torch.testing.assert_close(y[0, t], expected)
    torch.testing.assert_close(state.hidden[0], hidden)
    torch.testing.assert_close(state.context[0], context)


def test_the_lstm_is_torchs_with_the_context_as_input():
    torch.manual_seed(0)
    memory = Seq2SeqMemory(D, VectorStorage(K, V, slots=3), cell="lstm")
    cell = nn.LSTMCell(D + V, D)
    i, f, o, g = (slice(n * D, (n + 1) * D) for n in range(4))
    with torch.no_grad():  # torch's order is i, f, g, o
        order = torch.cat([torch.arange(4 * D)[part] for part in (i, f, g, o)])
        weight = torch.cat([memory.gates_input.weight, memory.gates_context.weight], 1)
        cell.weight_ih.copy_(weight[order])
        cell.weight_hh.copy_(memory.gates_hidden.weight[order])
        cell.bias_ih.copy_(memory.gates_input.bias[order])
        cell.bias_hh.zero_()
    state = written(memory)
    x = torch.randn(2, 1, D)
    state = state._replace(hidden=torch.randn(2, D), cell=torch.randn(2, D), context=torch.randn(2, V))
    _, after = memory(x, state)
    hidden, inner = cell(torch.cat([x[:, 0], state.context], -1), (state.hidden, state.cell))
    torch.testing.assert_close(after.hidden, hidden)
    torch.testing.assert_close(after.cell, inner)


@pytest.mark.parametrize("remember", [False, True])
@pytest.mark.parametrize("pieces", [[1] * 7, [3, 4], [2, 0, 5]])
def test_any_split_equals_the_whole(memory, remember, pieces):
    memory.write_on_forward = remember
    state, x = written(memory), torch.randn(2, 7, D)
    whole, after = memory(x, state)
    outputs = []
    for piece in x.split(pieces, 1):
        y, state = memory(piece, state)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), whole)
    assert_same_state(state, after)


@pytest.mark.parametrize("remember", [False, True])
def test_a_masked_step_changes_nothing_and_gives_zero(memory, remember):
    memory.write_on_forward = remember
    state, x = written(memory), torch.randn(2, 5, D)
    mask = torch.tensor([[True, False, True, True, False]] * 2)
    x_padded = x.masked_fill(~mask.unsqueeze(-1), float("nan")).requires_grad_()
    y, after = memory(x_padded, state, mask)
    expected, expected_after = memory(x[:, [0, 2, 3]], state)
    torch.testing.assert_close(y[:, [0, 2, 3]], expected)
    assert (y[:, [1, 4]] == 0).all()
    assert_same_state(after, expected_after)
    y.sum().backward()
    assert torch.isfinite(x_padded.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in memory.parameters() if p.grad is not None)


def test_masked_writes_reads_and_erases_do_nothing(memory):
    state, x = written(memory), torch.randn(2, 3, D)
    mask = torch.tensor([[True, False, True]] * 2)
    bad = x.masked_fill(~mask.unsqueeze(-1), float("nan"))
    assert_same_state(memory.write(state, bad, mask), memory.write(state, x[:, [0, 2]]))
    assert_same_state(memory.erase(state, bad, mask), memory.erase(state, x[:, [0, 2]]))
    y = memory.read(state, bad, mask)
    assert (y[:, 1] == 0).all()
    torch.testing.assert_close(y[:, [0, 2]], memory.read(state, x[:, [0, 2]]))


def test_remember_is_write_before_each_step(memory):
    state, x = written(memory), torch.randn(2, 4, D)
    outputs, stepped = [], state
    for t in range(4):
        y, stepped = memory(x[:, t : t + 1], memory.write(stepped, x[:, t : t + 1]))
        outputs.append(y)
    memory.write_on_forward = True
    whole, after = memory(x, state)
    torch.testing.assert_close(whole, torch.cat(outputs, 1))
    assert_same_state(after, stepped)


def test_the_output_depends_on_what_was_written_and_gradients_flow_back(memory):
    source = torch.randn(2, 5, D, requires_grad=True)
    x = torch.randn(2, 4, D, requires_grad=True)
    y, _ = memory(x, memory.write(memory.initial_state(2), source))
    y.square().sum().backward()
    assert source.grad.abs().sum(-1).amin() > 0 or memory.storage.top_k is not None
    assert source.grad.abs().sum() > 0
    assert (x.grad.abs().sum(-1) > 0).all()
    for name, parameter in memory.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_an_empty_memory_reads_zero(memory):
    state = memory.initial_state(2)
    assert (memory.read(state, torch.randn(2, 3, D)) == 0).all()
    _, state = memory(torch.randn(2, 3, D), state)
    assert (state.context == 0).all()


def test_erase_undoes_a_write():
    memory = Seq2SeqMemory(D, VectorStorage(D, D, slots=4, similarity="dot"))
    x = torch.randn(1, 1, D)
    state = memory.write(memory.initial_state(1), x)
    assert memory.read(state, x).abs().sum() > 0
    assert (memory.read(memory.erase(state, x), x) == 0).all()


def test_select_and_reset_act_on_the_named_items(memory):
    _, state = memory(torch.randn(3, 2, D), written(memory, 3))
    x = torch.randn(3, 2, D)
    y, _ = memory(x, state)
    index = torch.tensor([2, 0, 0])
    chosen, _ = memory(x[index], memory.select(state, index))
    torch.testing.assert_close(chosen, y[index])
    fresh, _ = memory(x, memory.reset(state, torch.tensor([False, True, False])))
    torch.testing.assert_close(fresh[[0, 2]], y[[0, 2]])
    torch.testing.assert_close(fresh[1:2], memory(x[1:2])[0])


def test_a_saved_state_goes_on_as_the_one_that_was_kept(memory, tmp_path):
    _, state = memory(torch.randn(2, 2, D), written(memory))
    torch.save(map_state(torch.Tensor.detach, state), tmp_path / "state.pt")
    loaded = torch.load(tmp_path / "state.pt", weights_only=True)
    x = torch.randn(2, 2, D)
    torch.testing.assert_close(memory(x, loaded)[0], memory(x, state)[0])


@pytest.mark.parametrize("axes", [(), (2,), (2, 3)])
def test_any_batch_axes(memory, axes):
    state = memory.write(memory.initial_state(*axes), torch.randn(*axes, 4, D))
    y, state = memory(torch.randn(*axes, 3, D), state)
    assert y.shape == (*axes, 3, D)
    assert state.hidden.shape == (*axes, D)


def test_the_given_state_is_not_changed(memory):
    memory.write_on_forward = True
    state = written(memory)
    before = map_state(torch.Tensor.clone, state)
    memory(torch.randn(2, 3, D), state)
    assert_same_state(state, before)


def test_traces_show_every_step_and_name_their_slots(memory):
    state = written(memory)
    with memory.tracing() as reads:
        memory(torch.randn(2, 3, D), state)
    assert len(reads) == 3
    for read in reads:
        torch.testing.assert_close(read.weights.sum(-1), torch.ones(2, 1))
        assert read.slots is None or read.slots.shape == read.weights.shape
    assert not memory.storage.traced


def test_a_masked_step_is_traced_as_nothing(memory):
    with memory.tracing() as reads:
        memory(torch.randn(2, 2, D), written(memory), torch.tensor([[True, False], [True, True]]))
    assert (reads[1].weights[0] == 0).all()
    assert reads[1].weights[1].sum() > 0


def test_inspect_shows_the_storage_and_the_recurrence(memory):
    figures = memory.inspect(written(memory))
    torch.testing.assert_close(figures["occupancy"], torch.full((2,), 5 / 7))
    assert (figures["hidden_norm"] == 0).all()


def test_bfloat16_autocast_trains_and_keeps_the_states_dtype(memory):
    memory.write_on_forward = True
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = memory(torch.randn(2, 4, D), written(memory))
    y.float().sum().backward()
    assert state.hidden.dtype == torch.float32
    assert all(torch.isfinite(p.grad).all() for p in memory.parameters() if p.grad is not None)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_thousand_steps_stay_finite(cell):
    memory = Seq2SeqMemory(D, VectorStorage(K, V, slots=7), cell=cell)
    y, _ = memory(torch.randn(1, 1000, D), written(memory, 1))
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert all(torch.isfinite(p.grad).all() for p in memory.parameters() if p.grad is not None)


# --- all steps as one operation -----------------------------------------------------------------------------


def both_ways(memory, x, state, mask, monkeypatch):
    """Outputs, state and gradients, all steps as one operation and one by one."""
    found = []
    for fused in (True, False):
        with monkeypatch.context() as patch:
            if not fused:
                patch.setattr(seq2seq, "can_fuse", lambda *_: False)
            y, after = memory(x, state, mask)
        wanted = [x, *(p for p in memory.parameters() if p.requires_grad)]
        wanted += [item for item in tensors(state) if item.requires_grad]
        total = y.square().sum() + sum(t.square().sum() for t in tensors(after) if t.is_floating_point())
        found.append(
            (y, after, torch.autograd.grad(total, wanted, retain_graph=True, materialize_grads=True))
        )
    return found


@pytest.mark.parametrize("written", [0, 3, 9], ids=["empty", "in part", "full"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("remember", [False, True])
def test_the_fused_steps_are_the_steps_one_by_one(remember, cell, masked, written, monkeypatch):
    torch.manual_seed(0)
    storage = VectorStorage(K, V, slots=5, learn_sharpness=True)
    memory = Seq2SeqMemory(D, storage, cell, write_on_forward=remember).double()
    x = torch.randn(2, 3, 8, D, dtype=torch.float64, requires_grad=True)
    first = torch.randn(2, 3, written, D, dtype=torch.float64)
    few = torch.rand(2, 3, written) > 0.2  # clocks differ
    state = memory.erase(memory.write(memory.initial_state(2, 3), first, few), first[..., :1, :])
    if remember and written:
        assert state.storage.clock.unique().numel() > 1
    state = state._replace(hidden=torch.randn_like(state.hidden).requires_grad_())
    mask = torch.rand(2, 3, 8) > 0.4 if masked else None
    fused, stepwise = both_ways(memory, x, state, mask, monkeypatch)
    for a, b in zip(fused, stepwise, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("remember", [False, True])
def test_what_a_long_sequence_keeps_for_the_gradient_grows_with_its_steps_alone(remember):
    kept = {}
    for steps, slots in ((128, 256), (512, 256), (128, 1024)):
        memory = Seq2SeqMemory(D, VectorStorage(K, V, slots=slots), write_on_forward=remember)
        sizes: dict[int, int] = {}

        def count(tensor, sizes=sizes):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            kept_alive = memory(torch.randn(1, steps, D, requires_grad=True))
        kept[steps, slots] = sum(sizes.values())
        del kept_alive
    assert kept[512, 256] <= 4.2 * kept[128, 256]
    assert kept[128, 1024] <= kept[128, 256] + 1024 * 4 * 20 * (K + V)


def test_a_step_that_is_not_finite_is_refused_or_left_out(monkeypatch):
    memory = Seq2SeqMemory(D, VectorStorage(K, V, slots=7), write_on_forward=True)
    x = torch.randn(2, 4, D)
    bad = x.index_fill(1, torch.tensor([1]), torch.nan)
    with pytest.raises(ValueError, match=r"x\[0, 1\] holds a NaN"):
        memory(bad)
    monkeypatch.setattr(validation, "can_inspect", lambda tensor: False)  # as on a GPU
    y, state = memory(bad)
    expected, _ = memory(x[:, [0, 2, 3]])
    torch.testing.assert_close(y[:, [0, 2, 3]], expected)
    assert state.storage.rejected.tolist() == [1, 1]


def test_a_replaced_linear_map_is_called():
    memory = Seq2SeqMemory(D, VectorStorage(K, V, slots=7, similarity="dot"))
    state, x = written(memory), torch.randn(2, 3, D)
    before = memory(x, state)[0]

    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    doubled = Doubled(D, K, bias=False)
    doubled.load_state_dict(memory.query_proj.state_dict())
    memory.query_proj = doubled
    assert not torch.allclose(memory(x, state)[0], before)


def test_functional_gradients_are_those_of_autograd():
    memory = Seq2SeqMemory(D, VectorStorage(K, V, slots=7), write_on_forward=True)
    x = torch.randn(3, 4, D)
    parameters = dict(memory.named_parameters())

    def loss(parameters, x):
        return torch.func.functional_call(memory, parameters, (x,))[0].square().sum()

    gradient = torch.func.grad(loss)(parameters, x)["out_proj.weight"]
    expected = torch.autograd.grad(memory(x)[0].square().sum(), memory.out_proj.weight)[0]
    torch.testing.assert_close(gradient, expected)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="cell"):
        Seq2SeqMemory(D, VectorStorage(K, V, slots=3), cell="rnn")
    with pytest.raises(ValueError, match="model_size"):
        Seq2SeqMemory(0, VectorStorage(K, V, slots=3))


def test_selecting_items_keeps_the_lstms_cell():
    memory = Seq2SeqMemory(D, VectorStorage(K, V, slots=3), cell="lstm")
    _, state = memory(torch.randn(3, 2, D))
    torch.testing.assert_close(select_items(state, torch.tensor([2])).cell, state.cell[2:])


@pytest.mark.parametrize(
    ("remember", "cell"), [(True, "gru"), pytest.param(False, "lstm", marks=pytest.mark.thorough)]
)
def test_compiled_it_is_one_operator_with_the_same_outputs_and_gradients(remember, cell):
    torch.manual_seed(0)
    memory = Seq2SeqMemory(D, VectorStorage(D, D, slots=5), cell=cell, write_on_forward=remember)
    x, mask = torch.randn(2, 20, D), torch.rand(2, 20) > 0.3
    written = memory.write(memory.initial_state(2), torch.randn(2, 3, D))
    state = map_state(torch.detach, written)

    def step(x):
        y, after = memory(x, state, mask)
        return y, after.hidden

    graphs = []

    def count(graph, example):
        graphs.append(len(graph.graph.nodes))
        return make_boxed_func(graph)

    compiled = torch.compile(step, fullgraph=True, backend=aot_autograd(fw_compiler=count))
    parameters = [p for p in memory.parameters() if p.requires_grad]
    (found, by_hand), (expected, by_autograd) = (
        (after, torch.autograd.grad(after[0].square().sum(), parameters, materialize_grads=True))
        for after in (compiled(x), step(x))
    )
    torch.testing.assert_close((found, by_hand), (expected, by_autograd))
    assert graphs[0] < 200  # not some twenty operations a step
