"""Comparison of reads, gradients and states."""

from typing import Any

import torch
from torch import Tensor

from recollect.testing.trial import Steps, Trial, leaves


def assert_close(actual: Tensor, expected: Tensor, what: str, tolerance: float | None = None) -> None:
    """Assert that two tensors agree up to rounding, or up to ``tolerance``."""
    if tolerance is None:
        tolerance = 1e-8 if actual.dtype == torch.float64 else 1e-4
    torch.testing.assert_close(
        actual, expected, rtol=tolerance, atol=tolerance, msg=lambda detail: f"{what}: {detail}"
    )


def assert_equal(actual: Tensor, expected: Tensor, what: str) -> None:
    """Assert that two tensors agree in every bit."""
    torch.testing.assert_close(
        actual, expected, rtol=0, atol=0, equal_nan=True, msg=lambda detail: f"{what}: {detail}"
    )


def assert_unchanged(state: Any, copy: Any, what: str) -> None:
    """Assert that a state equals its copy in every bit."""
    for now, before in zip(leaves(state), leaves(copy), strict=True):
        assert_equal(now, before, f"{what} changed the state it was given")


def assert_same_state(trial: Trial, actual: Any, expected: Any, what: str) -> None:
    """Assert that two states hold the same entries and read the same, now and after further writes."""
    storage = trial.storage
    if trial.slots is not None:
        ours, theirs = trial.slots.entries(actual), trial.slots.entries(expected)
        assert_close(ours.filled, theirs.filled, f"{what}: presence")
        for name in ("keys", "values"):
            a, b = (torch.where(e.filled.unsqueeze(-1) > 0, getattr(e, name), 0) for e in (ours, theirs))
            assert_close(a, b, f"{what}: {name} of the entries")
    more = trial.sequence(3, salt=50)
    for moment in ("now", "after one more write", "after two more writes", "after three more writes"):
        a, b = (storage.read(state, more.query).value for state in (actual, expected))
        assert_close(a, b, f"{what}: read {moment}")
        one = slice(0, 1)
        actual, expected = (
            storage.write(state, more.key[..., one, :], more.value[..., one, :])
            for state in (actual, expected)
        )
        more = more.at(torch.tensor([1, 2, 0]))


def step_by_step(trial: Trial, state: Any, steps: Steps) -> tuple[Tensor, Any]:
    """Run T steps of erase → write → read by single calls; ``scan`` must equal this."""
    reads = []
    for t in range(steps.query.shape[-2]):
        now = steps.at(slice(t, t + 1))
        if now.erase_strength is not None:
            state = trial.storage.erase(state, now.key, now.erase_strength, now.mask)
        state = trial.storage.write(state, now.key, now.value, now.write_strength, now.mask)
        reads.append(trial.storage.read(state, now.query, now.mask).value)
    return torch.cat(reads, -2), state


def gradients(trial: Trial, output: Tensor, state: Any, steps: Steps) -> dict[str, Tensor]:
    """Gradients of the reads, and of a read of the last state, in every argument and parameter."""
    probe = trial.sequence(3, salt=60).query
    last = trial.storage.read(state, probe).value
    weights = torch.randn(output.shape, generator=trial.generator(61)).to(output.dtype)
    loss = (output * weights).sum() + last.square().sum()
    wanted = dict(steps.floats())
    wanted.update({n: p for n, p in trial.storage.named_parameters() if p.requires_grad})
    found = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(wanted, found, strict=True))
