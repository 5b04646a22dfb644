"""Laws 3, 4 and 5: a scan equals its steps, pieces equal the whole, and masked steps have no effect."""

import torch
from torch import Tensor

from recollect.testing.compare import assert_close, assert_equal, assert_same_state, gradients, step_by_step
from recollect.testing.trial import Steps, Trial, leaves


def check_scan_equals_steps(trial: Trial) -> None:
    """Law 3: ``scan`` equals the steps, in outputs, last state and gradients (float64)."""
    trial = trial.double()
    for masked in (False, True):
        steps = _masked(trial, trial.sequence()) if masked else trial.sequence()
        ours, theirs = steps.requiring_grad(), steps.requiring_grad()
        output, state = trial.storage.scan(trial.written_state(), *ours)
        expected, expected_state = step_by_step(trial, trial.written_state(), theirs)
        assert_close(output, expected, "outputs of scan and steps")
        assert_same_state(trial, state, expected_state, "state after scan and steps")
        wanted = gradients(trial, expected, expected_state, theirs)
        for name, gradient in gradients(trial, output, state, ours).items():
            assert_close(gradient, wanted[name], f"gradient of scan and steps in {name}")


def check_splits(trial: Trial) -> None:
    """Law 4: any split of a sequence equals the whole."""
    trial = trial.double()
    storage = trial.storage
    steps = _masked(trial, trial.sequence())
    whole, whole_state = storage.scan(trial.written_state(), *steps)
    outputs, state, written = [], trial.written_state(), trial.written_state()
    for piece in trial.pieces(trial.steps):
        now = steps.at(piece)
        output, state = storage.scan(state, *now)
        outputs.append(output)
        written = storage.write(written, now.key, now.value, now.write_strength, now.mask)
    assert_close(torch.cat(outputs, -2), whole, "outputs of the pieces and of the whole")
    assert_same_state(trial, state, whole_state, "state after the pieces and after the whole")
    at_once = storage.write(trial.written_state(), steps.key, steps.value, steps.write_strength, steps.mask)
    assert_same_state(trial, written, at_once, "writes in pieces and at once")
    erased = at_once
    for piece in trial.pieces(trial.steps):
        now = steps.at(piece)
        erased = storage.erase(erased, now.query, now.erase_strength, now.mask)
    at_once = storage.erase(at_once, steps.query, steps.erase_strength, steps.mask)
    assert_same_state(trial, erased, at_once, "erases in pieces and at once")


def check_masks(trial: Trial) -> None:
    """Law 5: a masked step or entry affects no state, read or gradient, even if it is NaN."""
    trial = trial.double()
    storage = trial.storage
    pattern = trial.pattern(trial.steps)
    clean = _masked(trial, trial.sequence(), pattern)
    real = pattern.nonzero().squeeze(-1)
    for spoiled in (_spoiled(clean, pattern), clean):
        alone, padded = clean.at(real).requiring_grad(), spoiled.requiring_grad()
        expected, expected_state = storage.scan(trial.written_state(), *alone._replace(mask=None))
        output, state = storage.scan(trial.written_state(), *padded)
        assert_close(output[..., real, :], expected, "outputs with and without padding")
        assert_equal(output[..., ~pattern, :], torch.zeros_like(output[..., ~pattern, :]), "a masked output")
        assert_same_state(trial, state, expected_state, "state with and without padding")
        wanted = gradients(trial, expected, expected_state, alone)
        found = gradients(trial, output[..., real, :], state, padded)
        for name in alone.floats():
            gradient = found[name] if name in Steps._fields[:3] else found[name].unsqueeze(-1)
            nothing = torch.zeros_like(gradient[..., ~pattern, :])
            assert_equal(gradient[..., ~pattern, :], nothing, f"gradient of padding in {name}")
            ours = gradient[..., real, :].reshape(wanted[name].shape)
            assert_close(ours, wanted[name], f"gradient in {name} with and without padding")
    _check_masked_verbs(trial, clean, _spoiled(clean, pattern))


def _check_masked_verbs(trial: Trial, clean: Steps, spoiled: Steps) -> None:
    """Check that the content of the padding makes no difference, in every bit."""
    storage, state = trial.storage, trial.written_state()
    results = []
    for steps in (clean, spoiled):
        written = storage.write(state, steps.key, steps.value, steps.write_strength, steps.mask)
        tensors = [*leaves(written), storage.read(written, steps.query, steps.mask).value]
        tensors += leaves(storage.erase(written, steps.query, steps.erase_strength, steps.mask))
        if trial.slots is not None:
            # A masked slot may be any number, even out of range.
            slots = torch.zeros(steps.value.shape[:-1], dtype=torch.int64)
            slots = slots.masked_fill(~_not_none(steps.mask), 10**9 if steps is spoiled else 0)
            tensors += leaves(trial.slots.update(written, slots, steps.value, steps.mask))
            tensors += leaves(trial.slots.erase_slots(written, slots, steps.mask))
        results.append(tensors)
    for ours, theirs in zip(*results, strict=True):
        assert_equal(ours, theirs, "a result with other padding")
    nowhere = torch.zeros_like(_not_none(clean.mask))
    unwritten = storage.write(state, clean.key, clean.value, clean.write_strength, nowhere)
    assert_same_state(trial, unwritten, state, "a write with everything masked")


def _masked(trial: Trial, steps: Steps, pattern: Tensor | None = None) -> Steps:
    """Steps with a mask: ``pattern`` for every item, or the trial's, shifted by one step per item."""
    shape = steps.write_strength.shape
    if pattern is not None:
        return steps._replace(mask=pattern.expand(shape))
    items = max(1, shape[:-1].numel())
    shifted = [trial.pattern(shape[-1]).roll(item) for item in range(items)]
    return steps._replace(mask=torch.stack(shifted)[: shape[:-1].numel()].reshape(shape))


def _spoiled(steps: Steps, pattern: Tensor) -> Steps:
    """The same steps with NaN or arbitrary integers in the padding."""

    def spoil(tensor: Tensor) -> Tensor:
        hidden = ~pattern if tensor.dim() == steps.write_strength.dim() else ~pattern.unsqueeze(-1)
        return tensor.masked_fill(hidden, torch.nan if tensor.is_floating_point() else 2**40 + 1)

    return steps._replace(
        **{n: spoil(t) for n, t in steps._asdict().items() if t is not None and n != "mask"}
    )


def _not_none(mask: Tensor | None) -> Tensor:
    assert mask is not None, "these steps have a mask"
    return mask
