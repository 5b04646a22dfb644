"""What a classifier says, and what it remembers and forgets."""

import pytest
import torch

from recollect import (
    Concatenation,
    ExampleMemory,
    Fusion,
    HashStorage,
    Parallel,
    PrototypeMemory,
    VectorStorage,
)
from recollect_vision.models.classification import NO_EXAMPLE, ImageClassifier
from recollect_vision.models.resnet import SmallResNet
from recollect_vision.types import ImageSizes

SIZES = ImageSizes(1, 8, 8)


def classifier(
    mix_weight: float = 0.5, classes: int = 2, extra_classes: int = 2, storage=None
) -> ImageClassifier:
    torch.manual_seed(0)
    storage = storage or VectorStorage(
        16, classes + extra_classes, slots=8, sharpness=50.0, match_start=0.998
    )
    model = ImageClassifier(
        SmallResNet(SIZES, width=4), classes, ExampleMemory(storage, similarity="cosine"), mix_weight
    )
    return model.eval()


def directions() -> torch.Tensor:
    """Four features at right angles."""
    return torch.eye(4, 16)


def test_without_examples_the_network_speaks_alone():
    model, features = classifier(), directions()
    found = model.classify(features)
    torch.testing.assert_close(found.probability[:, :2], model.head(features).softmax(-1))
    assert found.probability[:, 2:].eq(0).all()
    assert found.number.shape == (4, 0)


def test_network_and_memory_are_mixed():
    model, features = classifier(mix_weight=0.3), directions()
    model.remember(features[:2], torch.tensor([1, 0]), torch.tensor([10, 11]))
    said = model.classify(features[:1]).probability[0]
    alone = model.head(features[:1]).softmax(-1)[0]
    torch.testing.assert_close(said[:2], 0.7 * alone + 0.3 * torch.tensor([0.0, 1.0]))


def test_a_new_class_is_known_once_it_is_written():
    model, features = classifier(), directions()
    model.remember(features[:2], torch.tensor([0, 1]), torch.tensor([0, 1]))
    assert model.classify(features[2:3]).probability[0, 2] == 0
    model.remember(features[2:3], torch.tensor([2]), torch.tensor([7]))
    found = model.classify(features[2:3])
    assert found.probability[0].argmax() == 2
    assert found.probability.sum() == pytest.approx(1)
    assert found.number[0, found.weight[0].argmax()] == 7


def test_a_forgotten_class_leaves_no_trace():
    model, features = classifier(), directions()
    model.remember(features[:2], torch.tensor([0, 1]), torch.tensor([0, 1]))
    before = model.classify(features).probability
    model.remember(features[2:], torch.tensor([2, 3]), torch.tensor([2, 3]))
    assert not torch.equal(before, model.classify(features).probability)
    model.forget(2)
    model.forget(3)
    assert torch.equal(before, model.classify(features).probability)


def test_forgetting_a_class_spares_examples_of_others_that_look_the_same():
    model, features = classifier(), directions()
    model.remember(features[:2], torch.tensor([0, 1]), torch.tensor([0, 1]))
    before = model.classify(features)
    model.remember(features[:2], torch.tensor([2, 3]), torch.tensor([2, 3]))
    model.forget(2)
    model.forget(3)
    after = model.classify(features)
    assert torch.equal(before.probability, after.probability)
    assert before.number[:, :2].tolist() == after.number[:, :2].tolist()


def test_a_learned_class_can_be_forgotten():
    model, features = classifier(), directions()
    model.remember(features[:2], torch.tensor([0, 1]), torch.tensor([0, 1]))
    model.forget(0)
    said = model.classify(features).probability
    assert said[:, 0].eq(0).all()
    torch.testing.assert_close(said.sum(1), torch.ones(4))
    model.clear()
    assert model.classify(features).probability[:, 0].gt(0).all()
    assert model.number.eq(NO_EXAMPLE).all()


def test_what_is_remembered_travels_with_the_weights():
    model, features = classifier(), directions()
    model.remember(features, torch.tensor([0, 1, 2, 3]), torch.arange(4))
    model.forget(1)
    other = classifier()
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.classify(features).probability, other.classify(features).probability)


def test_no_image_has_a_part_in_anothers_answer():
    model = classifier()
    images = torch.randn(3, 1, 8, 8)
    model.remember(model.features(images), torch.tensor([0, 1, 2]), torch.arange(3))
    together = model.classify(model.features(images)).probability
    apart = torch.cat([model.classify(model.features(image.unsqueeze(0))).probability for image in images])
    torch.testing.assert_close(together, apart)


def test_places_that_were_emptied_are_taken_again():
    storage = VectorStorage(16, 4, slots=4, policy="lru", sharpness=50.0, match_start=0.998)
    model, features = classifier(storage=storage), directions()
    model.remember(features[:2], torch.tensor([0, 1]), torch.tensor([0, 1]))
    before = model.classify(features).probability
    for turn in range(5):  # more writes than there are places
        model.remember(features[2:], torch.tensor([2, 3]), torch.tensor([turn, turn]))
        model.forget(2)
        model.forget(3)
    assert torch.equal(before, model.classify(features).probability)


def test_another_storage_serves_as_well():
    storage = HashStorage(16, 4, buckets=16, capacity=4, tables=4, match_start=0.998)
    model, features = classifier(storage=storage), directions()
    model.remember(features, torch.tensor([0, 1, 2, 3]), torch.tensor([4, 5, 6, 7]))
    found = model.classify(features, mix_weight=1.0)
    assert found.probability.argmax(1).tolist() == [0, 1, 2, 3]
    assert found.number.gather(1, found.weight.argmax(1, keepdim=True)).squeeze(1).tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize("integration", [Concatenation, Parallel, Fusion])
@pytest.mark.parametrize("at", ["features", "stages.1"])
def test_a_learned_memory_joins_without_a_change_and_then_learns(integration, at):
    torch.manual_seed(0)
    backbone = SmallResNet(SIZES, width=4)
    images = torch.randn(4, 1, 8, 8)
    alone = backbone.eval()(images)

    def memory(width: int) -> PrototypeMemory:
        return PrototypeMemory(width, VectorStorage(4, 4, slots=6), prototypes=6)

    model = ImageClassifier(backbone, 3, memory=memory, integration=integration, at=at).eval()
    torch.testing.assert_close(model.features(images), alone)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model.train()(images), torch.tensor([0, 1, 2, 0])).backward()
        optimizer.step()
    keys = [p for name, p in model.named_parameters() if name.endswith("memory.keys")]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in keys)
    assert len(keys) == 1


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="mix_weight must be in"):
        classifier(mix_weight=1.5)
    model = ImageClassifier(SmallResNet(SIZES, width=4), 2)
    with pytest.raises(ValueError, match="no memory of examples"):
        model.remember(directions(), torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64))


def test_a_whitened_memory_is_read_by_what_varies_alike():
    torch.manual_seed(0)
    storage = VectorStorage(16, 3, slots=64, sharpness=50.0, match_start=0.998)
    memory = ExampleMemory(storage, "prototypes", "cosine")
    model = ImageClassifier(SmallResNet(SIZES, width=4), 2, memory, mix_weight=1.0, whiten=True).eval()
    # Within the two classes that are known the first direction varies a hundred times as much as the others,
    # and the new class differs from them in the last one only, by far less than that.
    label = torch.arange(40) % 2
    spread = torch.tensor([10.0] + [0.1] * 15)
    features = torch.randn(40, 16) * spread + 2 * torch.nn.functional.one_hot(label + 1, 16)
    new = torch.randn(8, 16) * spread + 2 * torch.nn.functional.one_hot(torch.full((8,), 15), 16)
    model.whitening.fit(features, label)
    model.remember(features, label, torch.arange(40))
    model.remember(new[:1], torch.tensor([2]), torch.tensor([40]))
    said = model.classify(new[1:]).probability.argmax(1)
    assert said.eq(2).all()
    before = model.classify(features).probability[:, :2]
    model.forget(2)
    assert (model.classify(features).probability.argmax(1) == label).all()
    assert (before.argmax(1) == label).all()
