"""The layout of a part is found from an example, or asked for: batch items never see each other."""

import copy
import warnings

import pytest
import torch
import torchvision
from torch import nn

from recollect import (
    Concatenation,
    Fusion,
    MemoryNetwork,
    Parallel,
    VectorStorage,
    augment,
    carry,
    memory_parameters,
)
from recollect.memory_forward import augmented_layers, memory_forward

# Fusion says so; what it computes is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*outside recollect.carry:UserWarning")

D, B, T = 8, 3, 4


def make_memory(width):
    return MemoryNetwork(width, VectorStorage(width, width, slots=40), hops=1, write_on_forward=True)


class Transposing(nn.Module):
    """A block that takes batches first and attends with the time first."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(D, 2)
        self.norm = nn.LayerNorm(D)

    def forward(self, x):
        steps = x.transpose(0, 1)
        return self.norm(x + self.attention(steps, steps, steps)[0].transpose(0, 1))


class Inverted(nn.Module):
    """Convolutions of features in the middle, and a norm with the features last."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(D, D, 3, padding=1), nn.ReLU())
        self.norm, self.head = nn.LayerNorm(D), nn.Linear(D, 2)

    def forward(self, x):
        return self.head(self.norm(self.stem(x).mT).mean(1))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.mid = nn.Conv2d(3, D, 3, stride=2, padding=1), Residual()
        self.up = nn.ConvTranspose2d(D, 3, 2, stride=2)

    def forward(self, x):
        return x + self.up(self.mid(self.down(x).relu()))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.conv = nn.GroupNorm(2, D), nn.Conv2d(D, D, 3, padding=1)

    def forward(self, x):
        return x + self.conv(self.norm(x).relu())


class Tagger(nn.Module):
    def __init__(self, kind, batch_first):
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(9, D), kind(D, D, batch_first=batch_first)
        self.head = nn.Linear(D, 2)

    def forward(self, tokens):
        return self.head(self.rnn(self.embedding(tokens))[0])


class Graph(nn.Module):
    """Two rounds of messages along edges, as in PyTorch Geometric."""

    def __init__(self):
        super().__init__()
        self.first, self.second = GraphLayer(), GraphLayer()

    def forward(self, x, edge_index):
        return self.second(self.first(x, edge_index).relu(), edge_index)


class GraphLayer(nn.Linear):
    def __init__(self):
        super().__init__(D, D)

    def forward(self, x, edge_index):
        source, target = edge_index
        return super().forward(x).index_add(0, target, x[source])


def encoder(batch_first=False):
    return nn.TransformerEncoder(
        nn.TransformerEncoderLayer(D, 2, 16, batch_first=batch_first), 2, enable_nested_tensor=False
    )


def swin():
    return torchvision.models.swin_transformer.SwinTransformer(
        [2, 2], D, [1, 1], [1, 2], [2, 2], stochastic_depth_prob=0.0, num_classes=3
    )


def vit():
    return torchvision.models.VisionTransformer(8, 4, 1, 2, D, 16, num_classes=3)


def resnet():
    return torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=3)


def transformer():
    with warnings.catch_warnings(action="ignore"):  # of nested tensors, which a time-first one cannot use
        return nn.Transformer(D, 2, 1, 1, 16)


STEPS = (torch.randn(T, B, D),)
ITEMS = (torch.randn(B, T, D),)
TOKENS = (torch.randint(9, (B, T)),)
IMAGES = (torch.randn(B, 3, 8, 8),)
PAIR = (torch.randn(T, B, D), torch.randn(T + 1, B, D))

# The model, its part, an example, the batch axis of input and output, and the layouts that are right.
CASES = {
    "time first, norm": (encoder, "layers.0.norm1", STEPS, 1, ("tbd", "tbd")),
    "time first, linear": (encoder, "layers.1.linear1", STEPS, 1, ("tbd", "tbd")),
    "time first, layer": (encoder, "layers.0", STEPS, 1, ("tbd", "tbd")),
    "time first, attention": (encoder, "layers.0.self_attn", STEPS, 1, ("tbd", "tbd")),
    "decoder": (transformer, "decoder.layers.0.norm2", PAIR, 1, ("tbd", "tbd")),
    "batch first": (lambda: encoder(True), "layers.*.norm1", ITEMS, 0, ("btd", "btd")),
    "transposing": (lambda: nn.Sequential(Transposing(), Transposing()), "0", ITEMS, 0, ("btd", "btd")),
    "in the transposing": (lambda: nn.Sequential(Transposing()), "0.norm", ITEMS, 0, ("btd", "btd")),
    "conv1d": (Inverted, "stem", (torch.randn(B, D, T),), 0, ("bct", "bct")),
    "after conv1d": (Inverted, "norm", (torch.randn(B, D, T),), 0, ("btd", "btd")),
    "relu after conv1d": (Inverted, "stem.1", (torch.randn(B, D, T),), 0, ("bct", "bct")),
    "swin, block": (swin, "features.1.0", IMAGES, 0, ("bhwc", "bhwc")),
    "swin, norm": (swin, "features.1.0.norm1", IMAGES, 0, ("bhwc", "bhwc")),
    "swin, mlp": (swin, "features.3.0.mlp", IMAGES, 0, ("bhwc", "bhwc")),
    "swin, patches": (swin, "features.0.0", IMAGES, 0, ("bchw", "bchw")),
    "swin, merging": (swin, "features.2", IMAGES, 0, ("bhwc", "bhwc")),
    "vit, block": (vit, "encoder.layers.encoder_layer_0", IMAGES, 0, ("btd", "btd")),
    "vit, norm": (vit, "encoder.layers.encoder_layer_0.ln_1", IMAGES, 0, ("btd", "btd")),
    "vit, head": (vit, "heads", IMAGES, 0, ("bd", "bd")),
    "resnet, stage": (resnet, "layer1", IMAGES, 0, ("bchw", "bchw")),
    "resnet, block": (resnet, "layer2.0", IMAGES, 0, ("bchw", "bchw")),
    "resnet, norm": (resnet, "bn1", IMAGES, 0, ("bchw", "bchw")),
    "u-net": (UNet, "mid", IMAGES, 0, ("bchw", "bchw")),
    "lstm": (lambda: Tagger(nn.LSTM, True), "rnn", TOKENS, 0, ("btd", "btd")),
    "gru, time first": (lambda: Tagger(nn.GRU, False), "rnn", (TOKENS[0].T,), 1, ("tbd", "tbd")),
    "embedding": (lambda: Tagger(nn.LSTM, True), "embedding", TOKENS, 0, (None, "btd")),
    "head": (lambda: Tagger(nn.GRU, False), "head", (TOKENS[0].T,), 1, ("tbd", "tbd")),
    "mlp": (
        lambda: nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.Linear(D, 2)),
        "0",
        (torch.randn(B, D),),
        0,
        ("bd", "bd"),
    ),
}
CHANGES_STEPS = ("swin, patches", "swin, merging", "resnet, block", "embedding")


def augmented(make, at, example, integration):
    torch.manual_seed(0)
    plain = randomized(make()).eval()
    model = augment(
        make(), at, make_memory, integration, example=example if len(example) > 1 else example[0]
    ).eval()
    model.load_state_dict(plain.state_dict())
    with torch.no_grad():
        for parameter in memory_parameters(model):
            if parameter.requires_grad:
                parameter.normal_(std=0.3)
    return plain, model


def randomized(model):
    """Some models start with a head of zeros."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and not parameter.any():
                parameter.normal_(std=0.3)
    return model


def two_calls(model, first, second):
    with torch.no_grad(), carry(model):
        model(*first)
        return model(*second)


def other_items(example, axis):
    """Other tokens or features for the first item."""
    changed = [tensor.clone() for tensor in example]
    for tensor in changed:
        item = tensor.select(axis, 0)
        item.copy_((item + 1) % 9 if item.dtype == torch.int64 else torch.randn_like(item))
    return tuple(changed)


@pytest.mark.parametrize("integration", [Concatenation, Parallel, Fusion])
@pytest.mark.parametrize("name", CASES)
def test_batch_items_never_see_each_other(name, integration):
    make, at, example, axis, layouts = CASES[name]
    if (integration is Parallel and name in CHANGES_STEPS) or (integration is Fusion and name == "embedding"):
        with pytest.raises(ValueError, match=r"steps|real vectors"):
            augmented(make, at, example, integration)
        return
    plain, model = augmented(make, at, example, integration)
    assert {memory_forward(layer).integration.layouts for layer in augmented_layers(model).values()} == {
        layouts
    }
    torch.manual_seed(1)
    inputs = [
        tuple(t[torch.randperm(len(t))] if t.dtype == torch.int64 else torch.randn_like(t) for t in example)
        for _ in range(2)
    ]
    output = two_calls(model, *inputs)
    other = two_calls(model, *(other_items(given, axis) for given in inputs))
    assert not torch.allclose(output, plain(*inputs[1]))
    differs = (output != other).movedim(axis, 0).flatten(1).any(1)
    assert differs.tolist() == [True] + [False] * (len(differs) - 1)


def test_the_nodes_of_a_graph_have_a_memory_each():
    example = torch.randn(5, D), torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    _, model = augmented(Graph, "first", example, Concatenation)
    with carry(model) as session:
        model(*example)
        model(*example)
    assert session.state["first"].written.tolist() == [2] * 5


@pytest.mark.parametrize("size", [(1, 3, 8, 8), (1, 1, 8, 8)])
def test_an_example_of_one_image_is_enough(size):
    model = nn.Sequential(nn.Conv2d(size[1], D, 3), Residual(), nn.Flatten(), nn.LazyLinear(2))
    model(torch.randn(2, *size[1:]))
    augment(model, "1", make_memory, Parallel, example=torch.zeros(size))
    assert memory_forward(model[1]).integration.layouts == ("bchw", "bchw")


def test_an_example_of_one_sequence_is_enough_or_asked_about():
    model = augment(encoder(), "layers.0.norm1", make_memory, example=torch.randn(T, 1, D))
    assert memory_forward(model.layers[0].norm1).integration.layouts == ("tbd", "tbd")
    with pytest.raises(ValueError, match=r"^0: cannot tell"):
        augment(nn.Sequential(nn.Linear(D, D), nn.Tanh()), "0", make_memory, example=torch.randn(T, 1, D))


def test_an_example_that_the_model_changes_is_left_alone():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(D, D), nn.GRU(D, D, batch_first=True))
    x = torch.randn(B, T, D)
    before = x.clone()
    augment(model, "1", make_memory, example=x)
    assert torch.equal(x, before)
    assert memory_forward(model[1]).integration.layouts == ("btd", "btd")


class Fixed(nn.Module):
    """A block with a position for each of its steps, so that no other number of them will do."""

    def __init__(self):
        super().__init__()
        self.position, self.mix = nn.Parameter(torch.randn(T, D)), nn.Linear(T, T)

    def forward(self, x):
        return x + self.mix((x + self.position).mT).mT


AMBIGUOUS = {
    "every step apart": lambda: nn.Sequential(nn.Linear(D, D), nn.Linear(D, D)),
    "steps and features are fixed": lambda: nn.Sequential(Fixed(), nn.Flatten(), nn.Linear(T * D, 2)),
}


@pytest.mark.parametrize("integration", [Concatenation, Parallel, Fusion])
@pytest.mark.parametrize("make", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_layout_that_cannot_be_told_is_asked_for(integration, make):
    model, x = make(), torch.randn(B, T, D)
    before = dict(model.named_modules())
    with pytest.raises(ValueError, match=r"^0: cannot tell.*\(3, 4, 8\) of a .*layout="):
        augment(model, "0", make_memory, integration, example=x)
    assert dict(model.named_modules()) == before
    augment(model, "0", make_memory, integration, example=x, layout="btd")
    assert model(x) is not None


@pytest.mark.parametrize("integration", [Concatenation, Parallel, Fusion])
def test_without_an_example_only_what_is_certain_is_taken_for_granted(integration):
    model = augment(nn.Sequential(nn.Linear(D, D), nn.Linear(D, 2)), "0", make_memory, integration)
    assert model(torch.randn(B, D)).shape == (B, 2)
    with pytest.raises(ValueError, match=r"^0: cannot tell.*\(3, 4, 8\) of a Linear.*example"):
        model(torch.randn(B, T, D))


CERTAIN = {
    "conv1d": (nn.Sequential(nn.Conv1d(D, D, 1), nn.ReLU()), torch.randn(B, D, T), 0),
    "conv2d": (nn.Conv2d(D, D, 1), torch.randn(B, D, T, T), 0),
    "gru": (nn.GRU(D, D), torch.randn(T, B, D), 1),
    "norm of vectors": (nn.BatchNorm1d(D), torch.randn(B, D), 0),
    "norm of sequences": (nn.BatchNorm1d(D), torch.randn(B, D, T), 0),
    "norm of images": (nn.GroupNorm(2, D), torch.randn(B, D, T, T), 0),
    "transformer": (nn.TransformerEncoderLayer(D, 2, 16, dropout=0.0), torch.randn(T, B, D), 1),
    "vectors": (nn.Linear(D, D), torch.randn(B, D), 0),
}


@pytest.mark.parametrize("integration", [Concatenation, Parallel, Fusion])
@pytest.mark.parametrize(("layer", "x", "axis"), CERTAIN.values(), ids=CERTAIN)
def test_what_is_certain_is_right(integration, layer, x, axis):
    size = 8 if isinstance(layer, nn.GroupNorm) else None
    model = augment(nn.Sequential(copy.deepcopy(layer)), "0", make_memory, integration, size=size).eval()
    with torch.no_grad():
        for parameter in memory_parameters(model):
            if parameter.requires_grad:
                parameter.normal_(std=0.3)
    with carry(model) as session:
        model(x)
        output = model(x)
    assert session.state["0"].written.shape == (B,)
    other = x.clone()
    other.select(axis, 0).normal_()
    with carry(model):
        model(other)
        changed = model(other)
    output, changed = (y[0] if isinstance(y, tuple) else y for y in (output, changed))
    differs = (output != changed).movedim(axis, 0).flatten(1).any(1)
    assert differs.tolist() == [True, False, False]


def test_a_layout_of_other_axes_is_refused():
    with pytest.raises(ValueError, match=r"layout 'bd' means 2 axes, got a tensor of shape \(3, 4, 8\)"):
        augment(encoder(), "layers.0", make_memory, layout="bd", example=ITEMS[0])
    with pytest.raises(ValueError, match="layout must be one of"):
        augment(encoder(), "layers.0", make_memory, layout="dtb")
