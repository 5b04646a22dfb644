"""A query is answered by the examples alone, and training has every image take its turn."""

import pytest
import torch
import torch.nn.functional as F

from recollect import ExampleMemory, HashStorage, VectorStorage
from recollect_vision.models.convolutional import ConvolutionalBackbone
from recollect_vision.models.few_shot import FewShotClassifier
from recollect_vision.models.linear_head import LinearHead
from recollect_vision.types import ImageSizes

SIZES = ImageSizes(1, 12, 12)


def model(reader: str = "prototypes", slots: int = 12, **options) -> FewShotClassifier:
    torch.manual_seed(0)
    backbone = ConvolutionalBackbone(SIZES, [4, 8])
    if reader == "linear":
        return FewShotClassifier(backbone, LinearHead(), training_classes=7)
    storage = VectorStorage(backbone.feature_size, 5, slots=slots, **options)
    return FewShotClassifier(backbone, ExampleMemory(storage, reader, "cosine"), training_classes=7)


@pytest.mark.parametrize("reader", ["matching", "prototypes", "linear"])
def test_an_answer_does_not_depend_on_the_other_queries(reader):
    m = model(reader)
    m(torch.rand(32, 1, 12, 12))  # running statistics that are not those of the queries
    m.eval()
    images, labels = torch.rand(6, 1, 12, 12), torch.tensor([0, 0, 1, 1, 2, 2])
    queries = torch.rand(9, 1, 12, 12)
    with torch.no_grad():
        together = m.answer(m(images), labels, m(queries), 3).log_probability
        alone = [m.answer(m(images), labels, m(query.unsqueeze(0)), 3).log_probability for query in queries]
        among_others = m.answer(
            m(images), labels, m(torch.cat([queries[:1], 9 * queries])), 3
        ).log_probability
    assert together.shape == (9, 3)
    assert torch.allclose(together, torch.cat(alone), atol=1e-4)
    assert torch.allclose(together[0], among_others[0], atol=1e-4)


@pytest.mark.parametrize("reader", ["matching", "prototypes", "linear"])
def test_the_order_of_the_examples_is_of_no_consequence(reader):
    m = model(reader).eval()
    features, labels = torch.randn(6, 72), torch.tensor([0, 0, 1, 1, 2, 2])
    order = torch.randperm(6)
    one = m.answer(features, labels, features, 3).log_probability
    two = m.answer(features[order], labels[order], features, 3).log_probability
    assert torch.allclose(one, two, atol=1e-4)


def test_the_loss_is_the_mean_over_the_turns():
    m = model().eval()
    images = torch.rand(2, 3, 4, 1, 12, 12)
    features = m(images)
    losses = []
    for shift in (0, 2):  # with two shots of four images, the first two are written, then the last two
        turned = features.roll(-shift, 2)
        for episode in turned:
            labels = torch.arange(3).repeat_interleave(2)
            examples, queries = episode[:, :2].flatten(0, 1), episode[:, 2:].flatten(0, 1)
            losses.append(F.nll_loss(m.answer(examples, labels, queries, 3).log_probability, labels))
    found = m.loss(images, torch.zeros(2, 3, dtype=torch.int64), shots=2)
    assert torch.allclose(found, torch.stack(losses).mean(), atol=1e-5)


@pytest.mark.parametrize("reader", ["matching", "prototypes", "linear"])
def test_training_teaches_the_backbone(reader):
    m = model(reader)
    optimizer = torch.optim.Adam([p for p in m.parameters() if p.requires_grad], lr=1e-2)
    shapes = torch.rand(5, 1, 1, 12, 12)
    losses = []
    for _ in range(30):
        images = (shapes + 0.5 * torch.rand(1, 5, 2, 1, 12, 12)).clamp(0, 1)
        losses.append(m.loss(images, torch.arange(5).unsqueeze(0), shots=1))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.6 * losses[0]


def test_what_was_compared_is_what_was_read():
    m = model("matching")
    features, labels = torch.randn(2, 6, 72), torch.tensor([[0, 0, 1, 1, 2, 2]] * 2)
    queries = torch.randn(2, 3, 72)
    weights = m.compare(features, labels, queries)
    answer = m.answer(features, labels, queries, 3).log_probability.exp()
    assert torch.allclose(weights.unflatten(-1, (3, 2)).sum(-1), answer, atol=1e-5)
    few = model("matching", top_k=2).compare(features, labels, queries)
    assert ((few > 0).sum(-1) == 2).all()
    assert torch.equal(few.argmax(-1), weights.argmax(-1))
    assert model("linear").compare(features, labels, queries) is None


def test_any_storage_will_do():
    torch.manual_seed(0)
    backbone = ConvolutionalBackbone(SIZES, [4, 8])
    storage = HashStorage(backbone.feature_size, 5, buckets=16, capacity=8, tables=4)
    m = FewShotClassifier(backbone, ExampleMemory(storage, "matching"), training_classes=7)
    features, labels = torch.randn(6, 72), torch.tensor([0, 0, 1, 1, 2, 2])
    assert (m.answer(features, labels, features, 3).log_probability.argmax(-1) == labels).all()
    assert (m.compare(features, labels, features).argmax(-1) == torch.arange(6)).all()


def test_half_precision_does_not_reach_the_memory():
    m = model("matching")
    features, labels = torch.randn(6, 72), torch.tensor([0, 0, 1, 1, 2, 2])
    whole = m.answer(features, labels, features, 3).log_probability
    with torch.autocast("cpu", torch.bfloat16):
        half = m.answer(features, labels, features, 3).log_probability
    assert torch.equal(whole, half)


def test_a_memory_too_small_is_an_error_not_a_loss_of_examples():
    m = model(slots=5)
    with pytest.raises(ValueError, match="6 examples do not fit into the 5 slots"):
        m.answer(torch.randn(6, 72), torch.tensor([0, 0, 1, 1, 2, 2]), torch.randn(1, 72), 3)


def test_a_linear_head_fits_what_is_separable():
    labels = torch.arange(4).repeat_interleave(3)
    examples = F.one_hot(labels, 8).float() + 0.2 * torch.randn(12, 8)
    head = LinearHead(steps=200)
    both = head(
        torch.stack([examples, examples.flip(0)]),
        torch.stack([labels, labels.flip(0)]),
        examples.expand(2, -1, -1),
        4,
    )
    assert (both.argmax(-1) == labels).all()
    for wrong in ({"steps": 0}, {"learning_rate": 0.0}, {"decay": -1.0}):
        with pytest.raises(ValueError, match="out of range"):
            LinearHead(**wrong)
