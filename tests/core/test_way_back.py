"""A model with memories keeps its own names and weights, and can be rid of the memories."""

import copy

import pytest
import torch
from torch import nn

from recollect import (
    Concatenation,
    Fusion,
    Integration,
    MemoryNetwork,
    Parallel,
    PrototypeMemory,
    VectorStorage,
    augment,
    carry,
    load_memory_state_dict,
    memories_of,
    memory_parameters,
    memory_state_dict,
    model_state_dict,
    print_trainable_parameters,
    remove_memory,
    without_memory,
)

D = 8

# PyTorch says so where its encoder uses nested tensors, which the plain one does.
pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")


def make_memory(width, slots=6):
    return MemoryNetwork(width, VectorStorage(width, width, slots=slots), hops=1, write_on_forward=True)


def encoder():
    layer = nn.TransformerEncoderLayer(D, 2, 16, dropout=0.1, batch_first=True)
    return nn.TransformerEncoder(layer, 2)


def blocks():
    return nn.Sequential(
        nn.Sequential(nn.Linear(D, D), nn.ReLU()), nn.GRU(D, D, batch_first=True), nn.Identity()
    )


class Dense(nn.ModuleDict):
    """A container that runs its parts, as the blocks of DenseNet do."""

    def forward(self, x):
        for part in self.values():
            x = torch.cat([x, part(x)], -1)
        return x


class Weird(PrototypeMemory):
    def forward(self, *args, **kwargs):
        raise ValueError("weird")


MODELS = {
    "encoder": (encoder, "layers.*"),
    "parts of an encoder": (encoder, "layers.*.linear1"),
    "one layer": (lambda: nn.TransformerEncoderLayer(D, 2, 16, batch_first=True), "linear2"),
    "a sequence": (blocks, "0"),
    "a sequence and its first part": (blocks, ["0", "0.0", "1"]),
    "a container": (lambda: nn.Sequential(Dense({"a": nn.Linear(D, D)}), nn.Linear(2 * D, 2)), "0"),
}


@pytest.fixture(params=MODELS)
def case(request):
    """A plain model and a copy of it with memories that have a say."""
    torch.manual_seed(0)
    make, at = MODELS[request.param]
    plain = make()
    model = augment(copy.deepcopy(plain), at, make_memory, layout="btd", example=torch.randn(2, 3, D))
    return plain.eval(), opened(model).eval()


def opened(model):
    with torch.no_grad():
        for parameter in memory_parameters(model):
            parameter.normal_(std=0.3)
    return model


def first(output):
    return output[0] if isinstance(output, tuple) else output


def outputs(model):
    """What a model gives in training and in evaluation, with PyTorch's fused layers where they apply."""
    x = torch.randn(2, 5, D, generator=torch.Generator().manual_seed(0))
    padding = {"src_key_padding_mask": torch.tensor([[False] * 5, [False] * 3 + [True] * 2])}
    padding = padding if isinstance(model, nn.TransformerEncoder | nn.TransformerEncoderLayer) else {}
    for train, gradients in ((True, True), (False, True), (False, False)):
        model.train(train)
        torch.manual_seed(1)
        with torch.set_grad_enabled(gradients):
            yield first(model(x, **padding)).detach()
    model.eval()


def same(left, right):
    return all(torch.equal(a, b) for a, b in zip(outputs(left), outputs(right), strict=True))


def hooks(model):
    return [
        hook
        for part in model.modules()
        for kind in (part._forward_hooks, part._forward_pre_hooks, part._load_state_dict_pre_hooks)
        for hook in kind.values()
    ]


def test_the_model_keeps_the_names_of_its_parameters(case):
    plain, model = case
    names = [name for name, _ in plain.named_parameters()]
    assert [name for name, _ in model.named_parameters() if name in names] == names
    assert model_state_dict(model).keys() == plain.state_dict().keys()
    assert memory_state_dict(model).keys() == model.state_dict().keys() - plain.state_dict().keys()
    assert all("memory." in name for name in memory_state_dict(model))
    added = sum(parameter.numel() for parameter in memory_parameters(model))
    total = sum(parameter.numel() for parameter in model.parameters())
    assert added + sum(parameter.numel() for parameter in plain.parameters()) == total > added > 0


def test_a_checkpoint_of_the_plain_model_loads_and_one_is_saved(case):
    plain, model = case
    memory = copy.deepcopy(memory_state_dict(model))
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.normal_()
    model.load_state_dict(plain.state_dict())
    assert all(torch.equal(value, memory_state_dict(model)[name]) for name, value in memory.items())
    with without_memory(model):
        assert same(model, plain)
    other = copy.deepcopy(plain)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(model_state_dict(model))
    assert same(other, plain)


def test_a_checkpoint_of_something_else_does_not_load(case):
    plain, model = case
    with pytest.raises(RuntimeError, match="Unexpected key"):
        model.load_state_dict({**plain.state_dict(), "nowhere": torch.ones(1)})
    whole = dict(model.state_dict())
    del whole[next(iter(memory_state_dict(model)))]
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict(whole)


def test_memories_are_saved_and_loaded_apart(case, tmp_path):
    _, model = case
    torch.save(memory_state_dict(model), tmp_path / "memory.pt")
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in memory_parameters(other):
            parameter.zero_()
    load_memory_state_dict(other, torch.load(tmp_path / "memory.pt", weights_only=True))
    assert same(other, model)


def test_memories_of_another_kind_are_refused_and_nothing_changes(case):
    _, model = case
    before = copy.deepcopy(model.state_dict())
    saved = memory_state_dict(model)
    last = list(saved)[-1]
    wrong = [
        {name: value for name, value in saved.items() if name != last},
        {**saved, "nowhere": torch.ones(1)},
        {**saved, last: torch.ones(99)},
    ]
    for state_dict, message in zip(wrong, ("lacks", "has no nowhere", r"is \(99,\) there"), strict=True):
        with pytest.raises(ValueError, match=message):
            load_memory_state_dict(model, {name: 2 * value for name, value in state_dict.items()})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_without_memory_it_computes_what_it_did_to_the_bit(case):
    plain, model = case
    expected = list(outputs(model))
    with without_memory(model):
        assert same(model, plain)
    with pytest.raises(ZeroDivisionError), without_memory(model):
        raise ZeroDivisionError
    assert all(torch.equal(*pair) for pair in zip(outputs(model), expected, strict=True))
    assert not same(model, plain)


def test_the_memory_can_be_removed_without_a_trace(case):
    plain, model = case
    remove_memory(model)
    assert same(model, plain)
    assert not hooks(model)
    assert not memories_of(model)
    assert not any(isinstance(part, Integration) for part in model.modules())
    assert model.state_dict().keys() == plain.state_dict().keys()
    for part, original in zip(model.modules(), plain.modules(), strict=True):
        assert type(part) is type(original)
        assert part.__dict__.keys() == original.__dict__.keys()
        assert getattr(part, "use_nested_tensor", None) == getattr(original, "use_nested_tensor", None)
    augment(
        model,
        MODELS["encoder"][1] if isinstance(model, nn.TransformerEncoder) else "*",
        make_memory,
        layout="btd",
        size=D,
    )


def test_a_copy_and_its_original_are_apart(case):
    plain, model = case
    twin = copy.deepcopy(model)
    remove_memory(twin)
    assert same(twin, plain)
    assert not same(model, plain)


def test_a_sequence_keeps_its_parts():
    plain = blocks()
    model = augment(copy.deepcopy(plain), ["0", "0.0"], make_memory, example=torch.randn(2, 3, D))
    assert len(model[0]) == 2
    assert isinstance(model[0][-1], nn.ReLU)
    assert [type(part) for part in model[0]] == [nn.Linear, nn.ReLU]
    assert memories_of(model).keys() == {"0", "0.0"}
    with carry(model) as session:
        model(torch.randn(2, 3, D))
    assert session.state.keys() == {"0", "0.0"}


def test_parts_are_what_they_were():
    model = nn.Sequential(nn.Embedding(9, D), nn.GRU(D, D, batch_first=True))
    embedding = model[0]
    augment(model, "*", make_memory, example=torch.randint(9, (2, 3)))
    assert model[0] is embedding
    assert type(model[1]) is nn.GRU
    assert model[1].hidden_size == D
    head = nn.Linear(D, 9)
    head.weight = model[0].weight
    assert copy.deepcopy(nn.ModuleList([model, head]))[1].weight.shape == (9, D)
    model[0].weight.data = torch.zeros(12, D)
    assert model(torch.tensor([[11]]))[0].shape == (1, 1, D)


def test_an_instances_own_forward_is_kept():
    layer = nn.Linear(D, D)
    model = nn.Sequential(layer, nn.Linear(D, 2))
    layer.forward = lambda x: nn.functional.linear(x, layer.weight) * 2
    x = torch.randn(3, D)
    expected, own = model(x), layer.forward
    augment(model, "0", make_memory)
    assert torch.equal(model(x), expected)
    remove_memory(model)
    assert layer.forward is own
    assert torch.equal(model(x), expected)


def test_what_replaced_the_forward_later_must_be_undone_first():
    model = augment(nn.Sequential(nn.Linear(D, D), nn.Linear(D, 2)), "0", make_memory)
    augmented = model[0].forward
    model[0].forward = lambda x: augmented(x)
    with pytest.raises(ValueError, match="was replaced; undo that first"):
        remove_memory(model)


def test_a_name_that_is_taken_is_refused_and_nothing_changes():
    model = nn.Sequential(nn.Linear(D, D), nn.Linear(D, D))
    model[1].memory = "taken"
    before = [part.__dict__.keys() for part in model.modules()]
    with pytest.raises(ValueError, match="1: no memory for a Linear with an attribute 'memory' of its own"):
        augment(model, "*", make_memory)
    assert [part.__dict__.keys() for part in model.modules()] == before
    assert not hooks(model)
    assert not memories_of(model)


@pytest.mark.parametrize("integration", [Concatenation, Parallel, Fusion])
def test_a_memory_that_does_not_fit_leaves_the_others_as_they_are(integration):
    torch.manual_seed(0)
    model = augment(encoder(), "layers.0", make_memory, integration)
    x = torch.randn(2, 3, D)
    with pytest.raises(ValueError, match=r"layers\.1: size means 3 and 3 features.* 8 and 8"):
        augment(model, "layers.1", make_memory, integration, size=3, example=x)
    with pytest.raises(ValueError, match=r"layers\.1: weird"):
        augment(model, "layers.1", lambda width: Weird(width, VectorStorage(3, 3, slots=4), 4), example=x)
    assert memories_of(model).keys() == {"layers.0"}
    with carry(model) as session:
        model(torch.randn(2, 3, D))
    assert session.state.keys() == {"layers.0"}


def test_parameters_are_counted(capsys):
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 2, bias=False))
    augment(model, "0", make_memory)
    model[0].weight.requires_grad_(False)
    added = sum(parameter.numel() for parameter in memory_parameters(model))
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    print_trainable_parameters(model)
    text = capsys.readouterr().out
    assert text.startswith(f"trainable params: {trained:,} || all params: {added + 24:,} ||")
    assert text.strip().endswith(f"memory params: {added:,}")
