import copy
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
import torchvision
from torch import nn

from recollect import (
    Concatenation,
    Fusion,
    Integration,
    Memory,
    MemoryNetwork,
    Parallel,
    Seq2SeqMemory,
    VectorStorage,
    augment,
    carry,
    memories_of,
)

# Fusion says so; what it computes is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*outside recollect.carry:UserWarning")

D = 8


def make_memory(width):
    return MemoryNetwork(width, VectorStorage(width, width, slots=6), hops=1, write_on_forward=True)


def plain_memory(width):
    return Seq2SeqMemory(width, VectorStorage(width, width, slots=6), write_on_forward=True)


class Sum(Memory):
    """Remembers the sum of all steps, and takes little time to compile."""

    def __init__(self, width):
        super().__init__(width, VectorStorage(width, width, slots=1))

    def initial_state(self, *batch, device=None, dtype=None):
        return (torch.zeros(*batch, self.model_size, device=device, dtype=dtype),)

    def forward(self, x, state=None, mask=None):
        sums = x.cumsum(-2) + state[0].unsqueeze(-2)
        return sums.tanh(), (sums[..., -1, :],)

    def write(self, state, x, mask=None):
        return (state[0] + x.sum(-2),)

    def read(self, state, x, mask=None):
        return (x + state[0].unsqueeze(-2)).tanh()

    def erase(self, state, x, mask=None):
        return (state[0] - x.sum(-2),)


def mlp():
    return nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.Linear(D, 3))


def cnn():
    return nn.Sequential(
        nn.Conv2d(3, D, 3), nn.BatchNorm2d(D), nn.ReLU(), nn.Conv2d(D, D, 3), nn.Flatten(), nn.LazyLinear(4)
    )


class Tagger(nn.Module):
    """A GRU whose forward has arguments and outputs of its own."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(D, D, batch_first=True)
        self.head = nn.Linear(D, 2)

    def forward(self, x, start=None, *, scale=1.0):
        hidden, last = self.rnn(x, start)
        return {"y": self.head(hidden) * scale, "last": last}


def encoder(layers=2):
    layer = nn.TransformerEncoderLayer(D, 2, 16, dropout=0.1, batch_first=True)
    return nn.TransformerEncoder(layer, layers)


CASES = {
    "mlp": (mlp, "0", torch.randn(4, D)),
    "gru": (Tagger, "rnn", torch.randn(4, 5, D)),
    "transformer": (encoder, "layers.*", torch.randn(4, 5, D)),
    "transformer parts": (encoder, "layers.*.linear?", torch.randn(4, 5, D)),
    "attention": (encoder, "layers.*.self_attn", torch.randn(4, 5, D)),
    "cnn": (cnn, "3", torch.randn(4, 3, 6, 6)),
}
INTEGRATIONS = {
    "add": Concatenation,
    "concat": partial(Concatenation, mode="concat"),
    "parallel": Parallel,
    "fusion": Fusion,
}


def open_gates(model):
    """Move every gate, as training would."""
    torch.manual_seed(1)
    with torch.no_grad():
        for integration in (part for part in model.modules() if isinstance(part, Integration)):
            for name, parameter in integration.named_parameters():
                if name.startswith(("out_proj", "gate")):
                    parameter.normal_(std=0.5)
    return model


def build(case, integration, memory=make_memory):
    torch.manual_seed(0)
    make, at, x = CASES[case]
    model = make()
    model.eval()
    with torch.no_grad():
        model(x)
    original = copy.deepcopy(model)
    layout = "bchw_pooled" if case == "cnn" and integration in (Parallel, Fusion) else None
    return original, augment(model, at, memory, integration, layout=layout, example=x), x


def tensor(output):
    return output["y"] if isinstance(output, dict) else output


@pytest.mark.parametrize("integration", INTEGRATIONS.values(), ids=INTEGRATIONS)
@pytest.mark.parametrize("case", CASES)
def test_the_model_computes_what_it_did(case, integration):
    original, model, x = build(case, integration)
    for train in (False, True):
        original.train(train)
        model.train(train)
        for seed in range(2):
            torch.manual_seed(seed)
            expected = tensor(original(x))
            torch.manual_seed(seed)
            assert torch.equal(tensor(model(x)), expected)


@pytest.mark.parametrize("at", ["layer4", "layer?.0.conv1"])
def test_a_torchvision_resnet_computes_what_it_did(at):
    torch.manual_seed(0)
    original = torchvision.models.resnet18(weights=None).eval()
    x = torch.randn(2, 3, 32, 32)
    model = augment(
        copy.deepcopy(original),
        at,
        plain_memory,
        Fusion,
        layout="bchw_pooled",
        example=torch.randn(1, 3, 32, 32),
    )
    with torch.no_grad():
        assert torch.equal(model(x), original(x))
        with carry(model) as session:
            model(x)
    assert len(session.state) == (1 if at == "layer4" else 4)
    assert all((state.storage.presence > 0).sum() == 2 for state in session.state.values())


@pytest.mark.parametrize("case", CASES)
def test_each_call_starts_afresh_and_nothing_stays_on_the_model(case):
    _, model, x = build(case, Fusion)
    open_gates(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = tensor(model(x))
    tensor(model(torch.randn_like(x) * 9))
    assert torch.equal(tensor(model(x)), first)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("case", CASES)
def test_calls_in_a_session_go_on_from_one_another(case, tmp_path):
    _, model, x = build(case, Fusion, plain_memory)
    open_gates(model)
    other = torch.randn_like(x)
    fresh = tensor(model(x))
    with torch.no_grad(), carry(model) as session:
        model(other)
        carried = tensor(model(x))
    assert not torch.allclose(carried, fresh)
    with torch.no_grad():
        with carry(model) as session:
            model(other)
        torch.save(session.state, tmp_path / "state.pt")
        model(other * 2)
        state = torch.load(tmp_path / "state.pt", weights_only=True)
        with carry(model, state) as session:
            resumed = tensor(model(x))
    assert torch.equal(resumed, carried)
    assert session.state.keys() == memories_of(model).keys()


def test_a_state_that_is_taken_from_a_session_is_not_changed():
    _, model, x = build("mlp", Fusion, plain_memory)
    with carry(model) as session:
        model(x)
        state = session.state
        kept = state["0"]
        model(x)
    assert state["0"] is kept
    assert session.state["0"] is not kept


def test_a_state_that_is_passed_in_is_not_changed():
    _, model, x = build("mlp", Fusion, plain_memory)
    with carry(model) as session:
        model(x)
    state = session.state
    kept = state["0"].storage.presence.clone()
    with carry(model, state) as session:
        model(x)
    assert torch.equal(state["0"].storage.presence, kept)
    assert session.state["0"].storage.presence.sum() > kept.sum()


def test_the_place_is_called_in_the_fused_transformer_too():
    """In evaluation mode PyTorch's encoder may skip its layers' forward; ours must not be skipped."""
    x = torch.randn(3, 5, D)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]])
    for at in ("layers.*", "layers.*.linear1", "layers.*.self_attn", "layers.0"):
        torch.manual_seed(0)
        model = open_gates(augment(encoder(), at, make_memory, Concatenation, example=x)).eval()
        slow = model(x, src_key_padding_mask=padding)
        with torch.no_grad(), carry(model) as session:
            fast = model(x, src_key_padding_mask=padding)
        assert session.state.keys() == memories_of(model).keys()
        torch.testing.assert_close(fast[~padding], slow[~padding])


def test_padding_in_a_transformer_is_kept_from_the_memory():
    model = open_gates(augment(encoder(), "layers.*", plain_memory)).eval()
    x = torch.randn(1, 5, D)
    padding = torch.tensor([[False, False, False, True, True]])
    with carry(model) as padded:
        model(x, src_key_padding_mask=padding)
    with carry(model) as short:
        model(x[:, :3])
    torch.testing.assert_close(padded.state, short.state)


def test_a_sessions_mask_keeps_steps_from_the_memory():
    _, model, x = build("gru", Fusion, plain_memory)
    mask = torch.tensor([[True, True, False, False, False]] * 4)
    with carry(model, mask=mask) as padded:
        model(x)
    with carry(model) as short:
        model(x[:, :2])
    torch.testing.assert_close(padded.state, short.state)


def test_the_call_signature_is_kept():
    original, model, x = build("gru", Parallel)
    start = torch.randn(1, 4, D)
    expected, output = original(x, start, scale=2.0), model(x, start, scale=2.0)
    assert output.keys() == expected.keys()
    assert all(torch.equal(output[key], expected[key]) for key in expected)
    assert type(model) is Tagger
    assert model.rnn.hidden_size == D


def test_a_layer_that_runs_several_times_in_one_call_goes_on_from_where_it_was():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(D, D)

        def forward(self, x):
            hidden = x.new_zeros(x.shape[0], D)
            for t in range(x.shape[1]):
                hidden = self.cell(x[:, t], hidden)
            return hidden

    torch.manual_seed(0)
    model = open_gates(augment(Loop(), "cell", plain_memory))
    x = torch.randn(2, 4, D)
    whole = model(x)
    assert torch.equal(model(x), whole)
    with carry(model) as session:
        model(x)
    assert (session.state["cell"].storage.presence.sum(-1) == 4).all()


def test_a_model_within_a_model_is_part_of_the_greater_call():
    inner = augment(mlp(), "0", plain_memory)
    outer = augment(nn.Sequential(inner, inner, nn.Linear(3, 3)), "2", plain_memory)
    outer[0] = nn.Sequential(inner, nn.Linear(3, D))
    x = torch.randn(2, D)
    with carry(outer) as session:
        outer(x)
    assert session.state.keys() == memories_of(outer).keys()
    assert (session.state["0.0.0"].storage.presence.sum(-1) == 2).all()
    with carry(inner) as session:
        inner(x)
    assert session.state.keys() == {"0"}


def test_reset_select_detach_and_inspect():
    _, model, x = build("gru", Fusion, plain_memory)
    open_gates(model)
    with carry(model) as session:
        model(x)
        session.reset(torch.tensor([True, False, False, False]))
        y = tensor(model(x))
        assert session.state["rnn"].hidden.shape == (4, D)
    assert torch.equal(y[:1], tensor(model(x))[:1]) or torch.allclose(y[:1], tensor(model(x))[:1])
    assert not torch.allclose(y[1:], tensor(model(x))[1:])
    with carry(model) as session:
        model(x)
        session.select(torch.tensor([3, 1]))
        y = tensor(model(x[[3, 1]]))
    with carry(model) as other:
        model(x)
        torch.testing.assert_close(tensor(model(x))[[3, 1]], y)
    assert other.state["rnn"].storage.values.requires_grad
    other.detach()
    assert not other.state["rnn"].storage.values.requires_grad
    assert (other.inspect()["rnn"]["occupancy"] == 1).all()


def test_memories_can_be_written_and_erased_by_hand():
    _, model, x = build("mlp", Fusion, plain_memory)
    open_gates(model)
    memory = memories_of(model)["0"]
    fact = torch.randn(4, 1, D)
    state = {"0": memory.write(memory.initial_state(4), fact)}
    with carry(model, state):
        knowing = model(x)
    assert not torch.allclose(knowing, model(x))
    with carry(model, {"0": memory.erase(state["0"], fact)}):
        forgotten = model(x)
    torch.testing.assert_close(forgotten, model(x))


def test_gradients_cross_calls_and_reach_what_was_written():
    _, model, x = build("mlp", Fusion, plain_memory)
    open_gates(model)
    with carry(model):
        for part in torch.randn(3, *x.shape):
            y = model(part)
    y.sum().backward()
    memory = memories_of(model)["0"]
    for weight in (memory.key_proj.weight, memory.value_proj.weight, memory.query_proj.weight):
        assert torch.isfinite(weight.grad).all()
        assert weight.grad.abs().sum() > 0


def test_a_failed_call_leaves_nothing_behind():
    _, model, x = build("gru", Fusion, plain_memory)
    open_gates(model)
    expected = tensor(model(x))
    with pytest.raises(TypeError):
        model(x, scale="two")
    assert torch.equal(tensor(model(x)), expected)
    interrupted = model.head.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        model(x)
    interrupted.remove()
    assert torch.equal(tensor(model(x)), expected)


def test_threads_do_not_share_a_session():
    _, model, x = build("gru", Fusion, plain_memory)
    open_gates(model)

    def walk(seed):
        parts = torch.randn(3, *x.shape, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad(), carry(model):
            return [tensor(model(part)) for part in parts]

    alone = [walk(seed) for seed in range(6)]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(walk, range(6)))
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("case", CASES)
def test_copies_and_saved_weights(case, tmp_path):
    _, model, x = build(case, Concatenation)
    open_gates(model)
    expected = tensor(model(x))
    twin = copy.deepcopy(model)
    assert torch.equal(tensor(twin(x)), expected)
    with carry(twin) as session:
        twin(x)
    assert session.state.keys() == memories_of(twin).keys()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    _, other, _ = build(case, Concatenation)
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(tensor(other(x)), expected)
    torch.save(model, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    assert torch.equal(tensor(loaded(x)), expected)


def test_one_instance_for_one_place_and_functions_for_several():
    memory = plain_memory(D)
    model = augment(mlp(), "0", memory)
    assert memories_of(model) == {"0": memory}
    with pytest.raises(ValueError, match="2 parts match"):
        augment(mlp(), ["0", "2"], memory)
    model = augment(encoder(), "layers.*", plain_memory)
    first, second = memories_of(model).values()
    assert first is not second


def test_a_part_that_hangs_in_two_places_has_one_memory():
    shared = nn.Linear(D, D)
    model = augment(nn.Sequential(shared, nn.ReLU(), shared), "*", plain_memory, size=D)
    assert model[0] is model[2]
    assert memories_of(model).keys() == {"0", "1"}
    with carry(model) as session:
        model(torch.randn(2, D))
    assert (session.state["0"].storage.presence.sum(-1) == 2).all()


def test_augmenting_twice_adds_and_never_doubles():
    model = augment(augment(encoder(), "layers.0", plain_memory), "layers.1", plain_memory)
    assert memories_of(model).keys() == {"layers.0", "layers.1"}
    with pytest.raises(ValueError, match="has a memory already"):
        augment(model, "layers.0", plain_memory)
    with pytest.raises(ValueError, match="has a memory already"):
        augment(model, "layers.0.memory.memory", plain_memory)
    with carry(model) as session:
        model(torch.randn(2, 3, D))
    assert (session.state["layers.1"].storage.presence.sum(-1) == 3).all()


def test_new_parts_follow_the_model():
    model = augment(mlp().double().eval(), "0", plain_memory)
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert not any(part.training for part in model.modules())
    assert model(torch.randn(2, D, dtype=torch.float64)).dtype == torch.float64


def test_names_match_between_dots_only():
    model = augment(encoder(), "layers.*", plain_memory)
    assert memories_of(model).keys() == {"layers.0", "layers.1"}
    model = augment(encoder(), ["layers.0.linear[12]", "layers.1"], plain_memory)
    assert memories_of(model).keys() == {"layers.0.linear1", "layers.0.linear2", "layers.1"}


def test_a_wrong_name_lists_the_near_ones():
    with pytest.raises(ValueError, match=r"'layer\.0'.*layers\.0"):
        augment(encoder(), "layer.0", plain_memory)
    with pytest.raises(ValueError, match=r"'encoder\.layers\.\*'.*layers\.[01]"):
        augment(encoder(), "encoder.layers.*", plain_memory)
    with pytest.raises(ValueError, match="names no part"):
        augment(encoder(), [], plain_memory)


def test_parts_that_cannot_have_a_memory_are_refused():
    with pytest.raises(ValueError, match=r"never called.*layers\.\*"):
        augment(encoder(), "layers", plain_memory)
    with pytest.raises(ValueError, match="only uses its weights"):
        augment(encoder(), "layers.0.self_attn.out_proj", plain_memory)


def test_sizes_that_nobody_tells_are_asked_for():
    resnet = torchvision.models.resnet18(weights=None)
    with pytest.raises(ValueError, match=r"layer1\.0.*example=x"):
        augment(resnet, "layer1.0", plain_memory)
    skipped = mlp()
    skipped.aside = nn.Bilinear(D, D, D)
    skipped.forward = lambda x: skipped[0](x)
    with pytest.raises(ValueError, match="did not reach it"):
        augment(skipped, "aside", plain_memory, example=torch.randn(2, D))
    model = augment(resnet, "layer1.0", plain_memory, size=64, layout="bchw_pooled")
    assert memories_of(model)["layer1.0"].model_size == 64


def test_looking_at_an_example_leaves_the_model_alone():
    model = cnn().train()
    model(torch.randn(2, 3, 6, 6))
    model[0].eval()
    before = copy.deepcopy(model.state_dict())
    augment(model, "3", plain_memory, layout="bchw_pooled", example=torch.randn(2, 3, 6, 6))
    assert torch.equal(model[1].running_mean, before["1.running_mean"])
    assert model.training
    assert not model[0].training
    assert not model[1]._forward_hooks


def test_a_state_for_another_model_or_batch_is_refused():
    _, model, x = build("mlp", Fusion, plain_memory)
    with carry(model) as session:
        model(x)
    with pytest.raises(ValueError, match="no layer nowhere has a memory"), carry(model, {"nowhere": ()}):
        pass
    with carry(model, session.state), pytest.raises(ValueError, match="4 batch items and the input 3"):
        model(x[:3])


@pytest.mark.filterwarnings("ignore:.*certain side effects happened:UserWarning")
def test_an_exported_model_computes_what_it_does():
    model = augment(mlp(), at="0", memory=make_memory, layout="btd")
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 3, D)
    exported = torch.export.export(model, (x,), strict=True).module()
    torch.testing.assert_close(exported(x), model(x))


BAD = {
    "sizes": (lambda model: augment(model, "0", make_memory, size=5), "0: .* has 8 features .* made for 5"),
    "mask": (lambda model: augment(model, "0", make_memory), "0: the step mask must be bool of shape"),
    "not finite": (lambda model: augment(model, "0", plain_memory), "0: .*(finite|nan|NaN)"),
    "a memory of its own": (lambda model: augment(model, "0", complaining), "0: something is wrong"),
}


def complaining(width):
    memory = make_memory(width)
    memory.forward = complain
    return memory


def complain(*args):
    raise ValueError("something is wrong")


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_with_its_part_and_changes_nothing(name):
    make, message = BAD[name]
    model, x = make(mlp()), torch.randn(2, D)
    if name == "not finite":
        x[1, 2] = torch.nan
    with carry(model, mask=torch.ones(3, 1, dtype=torch.bool) if name == "mask" else None) as session:
        with pytest.raises(ValueError, match=message):
            model(x)
        assert session.state == {}


# Dynamo itself looks at .grad of tensors that are no leaves, and gives up where a warning is an error.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize(
    ("integration", "memory"), [(Concatenation, make_memory), (Parallel, Sum), (Fusion, Sum)]
)
def test_a_compiled_model_computes_what_it_does_uncompiled(integration, memory):
    model = augment(mlp(), at="0", memory=memory, integration=integration, layout="btd")
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    torch.compiler.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    compiled, x = torch.compile(model, backend=backend, fullgraph=True), torch.randn(2, 2, D)

    torch.testing.assert_close(compiled(x), model(x))
    with carry(model):
        expected = [model(x) for _ in range(4)]
    with carry(model):
        found = [compiled(x) for _ in range(4)]
    assert len(graphs) == 3  # without a session, from an empty state and from a state
    torch.testing.assert_close(found, expected)
    assert not torch.equal(*found[:2])
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = [torch.autograd.grad(y[1].sum(), learned, allow_unused=True) for y in (found, expected)]
    torch.testing.assert_close(*([g for g in part if g is not None] for part in gradients))


# Dynamo itself looks at .grad of tensors that are no leaves, and gives up where a warning is an error.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_a_compiled_model_detaches_too():
    model = open_gates(augment(mlp(), "0", Sum))
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    inputs = [torch.randn(3, D, requires_grad=True) for _ in range(4)]
    with carry(model, detach_every=2):
        y = [compiled(x) for x in inputs][-1]
    y.sum().backward()
    assert [x.grad is not None and bool(x.grad.any()) for x in inputs] == [False, False, True, True]
