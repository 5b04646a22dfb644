"""A label is known a step late, the state is all that is carried on, and old entries make room."""

import pytest
import torch
import torch.nn.functional as F

from recollect import HashStorage, VectorStorage
from recollect_vision.models.online_few_shot import NO_LABEL, OnlineLearner, presentation_count, shift_labels


def learner(slots: int = 6, policy: str = "lru", storage: bool = True) -> OnlineLearner:
    torch.manual_seed(0)
    kept = VectorStorage(8, 3, slots=slots, policy=policy) if storage else None
    return OnlineLearner(10, classes=3, hidden_size=16, storage=kept)


def sequence(steps: int = 9, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(3, (batch, steps), generator=generator)
    return torch.randn(batch, steps, 10, generator=generator), labels


@pytest.mark.parametrize("storage", [True, False])
@pytest.mark.parametrize("cuts", [[3, 6], [1, 8], [9, 0], [4, 1, 4]])
def test_any_split_of_a_sequence_equals_the_whole(storage, cuts):
    m = learner(storage=storage)
    x, labels = sequence()
    whole, last = m(x, shift_labels(labels))
    parts, state = [], None
    for part_x, part_labels in zip(x.split(cuts, 1), shift_labels(labels).split(cuts, 1), strict=True):
        logits, state = m(part_x, part_labels, state)
        parts.append(logits)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-6)
    assert torch.allclose(state.hidden, last.hidden, atol=1e-6)


def test_an_answer_knows_no_label_of_its_own_step_or_later():
    m = learner()
    x, labels = sequence()
    changed = labels.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 3
    one, two = m(x, shift_labels(labels))[0], m(x, shift_labels(changed))[0]
    assert torch.equal(one[:, :6], two[:, :6])
    assert not torch.allclose(one[:, 6], two[:, 6])


def test_the_memory_binds_a_label_to_its_own_image():
    m = learner()
    x, labels = sequence(steps=4, batch=1)
    _, state = m(x, shift_labels(labels))
    entries = m.storage.entries(state.memory)
    assert entries.filled.sum() == 3  # the fourth waits for its label
    read = m.storage.read(state.memory, m.key_proj(x[:, :3]))
    exact = F.one_hot(labels[:, :3], 3).float()
    near = m.storage.read(state.memory, m.key_proj(x[:, :3])).weights.argmax(-1)
    assert torch.equal(entries.values[0, near[0]], exact[0])
    assert read.value.shape == (1, 3, 3)


def test_past_capacity_the_least_recently_used_makes_room():
    m = learner(slots=2)
    m.key_proj.weight.data = torch.eye(8, 10)
    m.key_proj.bias.data.zero_()
    eye = torch.eye(10)
    #  0 and 1 are written; 0 is seen again, which uses it; then the second 0 and 2 take their places.
    x = torch.stack([eye[0], eye[1], eye[0], eye[2], eye[0]]).unsqueeze(0)
    labels = torch.tensor([[0, 1, 0, 2, 0]])
    _, state = m(x, shift_labels(labels))
    values = m.storage.entries(state.memory).values[0]
    assert values.argmax(-1).sort().values.tolist() == [0, 2]  # not the entry of class 1


def test_without_a_label_nothing_is_written():
    m = learner()
    x, labels = sequence()
    _, state = m(x, torch.full_like(labels, NO_LABEL))
    assert m.storage.entries(state.memory).filled.sum() == 0


def test_a_question_leaves_the_state_as_it_was_and_sees_no_other():
    m = learner()
    x, labels = sequence(batch=1)
    _, state = m(x, shift_labels(labels))
    kept = [tensor.clone() for tensor in (*state.memory, *state[1:])]
    asked = torch.randn(4, 10)
    together = m.predict_next(state, asked, labels[0, -1:])
    assert all(torch.equal(a, b) for a, b in zip(kept, (*state.memory, *state[1:]), strict=True))
    assert torch.allclose(together[2:3], m.predict_next(state, asked[2:3], labels[0, -1:]), atol=1e-6)


def test_other_storages_will_do():
    m = OnlineLearner(10, 3, 16, HashStorage(8, 3, buckets=8, capacity=4, tables=2))
    x, labels = sequence()
    assert m(x, shift_labels(labels))[0].shape == (2, 9, 3)
    with pytest.raises(ValueError, match="value_size must be 3"):
        OnlineLearner(10, 3, 16, VectorStorage(8, 4, slots=2))


def test_gradients_reach_the_keys_through_the_memory():
    m = learner()
    x, labels = sequence()
    F.cross_entropy(m(x, shift_labels(labels))[0].flatten(0, 1), labels.flatten()).backward()
    assert m.key_proj.weight.grad.abs().sum() > 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in m.parameters())


def test_presentations_are_counted():
    assert presentation_count(torch.tensor([[2, 0, 2, 2, 0]])).tolist() == [[1, 1, 2, 3, 2]]
