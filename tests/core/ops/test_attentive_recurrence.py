import pytest
import torch

from recollect.ops import attentive_backward
from recollect.ops.attentive_recurrence import attentive_recurrence, attentive_recurrence_reference
from recollect.ops.attentive_steps import Recurrence, Windows

STEPS, BATCH, D, K, V = 8, 2, 3, 4, 5


def recurrence(windows: Windows, lstm: bool, steps: int = STEPS, **options) -> Recurrence:
    torch.manual_seed(0)
    entries, into = windows.old + windows.growth * steps, (4 if lstm else 3) * D
    shapes = [
        (steps, BATCH, 2),
        (2, into),
        (4 * D,),
        (D, into),
        (V, into),
        (D, K),
        (BATCH, entries, K),
        (BATCH, entries, V),
    ]
    shapes += [(BATCH, 1, entries), (BATCH, D), (BATCH, D if lstm else 0), (BATCH, V)]
    return Recurrence(
        *(torch.randn(shape, dtype=torch.float64, requires_grad=True, **options) for shape in shapes)
    )


@pytest.mark.parametrize("lstm", [False, True])
@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize(
    "windows", [Windows(4, 0, 4), Windows(0, 1, 3), Windows(3, 1, 3), Windows(2, 1, 99)], ids=str
)
def test_states_and_gradients_are_those_of_the_steps_one_by_one(windows, cosine, lstm, monkeypatch):
    monkeypatch.setattr(attentive_backward, "BLOCK", 3)
    inputs = recurrence(windows, lstm)
    found, expected = (
        run(inputs, windows, cosine) for run in (attentive_recurrence, attentive_recurrence_reference)
    )
    torch.testing.assert_close(found, expected)
    grads = [torch.randn_like(states) for states in expected]
    by_hand, by_autograd = (
        torch.autograd.grad(course, inputs, grads, materialize_grads=True) for course in (found, expected)
    )
    torch.testing.assert_close(Recurrence(*by_hand), Recurrence(*by_autograd))


def test_it_can_be_differentiated_twice():
    windows = Windows(1, 1, 2)
    inputs = recurrence(windows, lstm=True, steps=2)
    assert torch.autograd.gradgradcheck(
        lambda *tensors: tuple(attentive_recurrence(Recurrence(*tensors), windows, True)),
        inputs,
        fast_mode=True,
    )


def test_the_inputs_stay_as_they_were_and_only_what_is_wanted_gets_a_gradient():
    windows = Windows(4, 0, 4)
    inputs = Recurrence(*(tensor.detach() for tensor in recurrence(windows, lstm=False)))
    before = [tensor.clone() for tensor in inputs]
    inputs.keys.requires_grad_()
    course = attentive_recurrence(inputs, windows, False)
    course.contexts(D).sum().backward()
    torch.testing.assert_close(list(inputs), before, rtol=0, atol=0)
    assert inputs.keys.grad.abs().sum() > 0
    assert inputs.x.grad is None
