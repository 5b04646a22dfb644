"""Checks of constructor arguments and of the tensors that storages are given."""

import torch
from torch import Tensor

from recollect.ops.masking import apply_mask, full_mask


def check_positive(**numbers: int | None) -> None:
    """Check that each number is at least 1; ``None`` is no number and passes.

    Raises:
        ValueError: If one is not, by its name.
    """
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")


def check_attention(sharpness: float | None, match_start: float) -> None:
    """Check that the sharpness is positive and that a match can rise to 1.

    Raises:
        ValueError: If an argument is out of range.
    """
    if sharpness is not None and sharpness <= 0:
        raise ValueError(f"sharpness must be positive, got {sharpness}")
    if not 0 <= match_start < 0.999:
        raise ValueError(f"match_start must be in [0, 0.999), got {match_start}")


def check_buckets(buckets: int) -> None:
    """Check that the number of buckets is a power of two, so that whole bits number them.

    Raises:
        ValueError: If it is not.
    """
    if buckets.bit_count() != 1 or not 1 <= buckets <= 2**32:
        raise ValueError(f"buckets must be a power of two up to 2**32, got {buckets}")


def check_rows(tensor: Tensor, name: str, size: int, mask: Tensor | None) -> Tensor:
    """Check that a tensor has shape ``(…, n, size)``, and return its mask ``(…, n)``, all true by default.

    Raises:
        ValueError: If a shape is wrong.
    """
    if tensor.dim() < 2 or tensor.shape[-1] != size:
        raise ValueError(f"{name} must have shape (…, n, {size}), got {tuple(tensor.shape)}")
    return full_mask(tensor, mask, name)


def check_steps(query: Tensor, key: Tensor, value: Tensor, *others: Tensor | None) -> None:
    """Check that queries, keys and values ``(…, T, *)``, strengths and mask ``(…, T)`` have the same T.

    Raises:
        ValueError: If they differ in batch axes or number of steps.
    """
    shapes = [item.shape[:-1] for item in (query, key, value)]
    shapes += [item.shape for item in others if item is not None]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(
            "query, key, value, strengths and mask must have the same batch axes and as many steps, got "
            f"{', '.join(str(tuple(shape)) for shape in shapes)}"
        )


def check_batch(rows: Tensor, name: str, batch: torch.Size) -> None:
    """Check that rows ``(…, n, *)`` have the batch axes of the state they are used with.

    Raises:
        ValueError: If they do not.
    """
    if rows.shape[:-2] != batch:
        raise ValueError(
            f"{name} of shape {tuple(rows.shape)} does not go with a state of batch axes {tuple(batch)}"
        )


def check_strength(strength: Tensor, mask: Tensor) -> Tensor:
    """Check that strengths are in [0, 1] where they count, and zero them elsewhere.

    The range is checked on CPU only; on another device the check would wait for it.

    Args:
        strength: ``(…, n)`` floating point.
        mask: ``(…, n)`` bool.

    Raises:
        ValueError: If a strength is out of range, or shape or dtype are wrong.
    """
    if strength.shape != mask.shape or not strength.is_floating_point():
        raise ValueError(
            f"strength must be floating point of shape {tuple(mask.shape)}, "
            f"got {strength.dtype} of shape {tuple(strength.shape)}"
        )
    strength = apply_mask(strength, mask)
    if strength.device.type == "cpu" and not torch.compiler.is_compiling() and strength.numel():
        low, high = strength.detach().aminmax()
        if not (low >= 0 and high <= 1):  # also true of NaN
            raise ValueError(f"strength must be in [0, 1], got {low.item():g} to {high.item():g}")
    return strength


def check_inplace(inplace: bool) -> None:
    """Check that nothing is updated in place while gradients are recorded.

    Raises:
        RuntimeError: If it is.
    """
    if inplace and torch.is_grad_enabled():
        raise RuntimeError("inplace=True reuses the given state: call it under torch.no_grad()")


def check_slots(slots: Tensor, size: int) -> None:
    """Check that slots are in [0, size), on CPU, where scatter may write out of bounds.

    A CUDA device checks by itself.

    Raises:
        ValueError: If a slot is out of range.
    """
    if slots.device.type != "cpu" or torch.compiler.is_compiling() or not slots.numel():
        return
    if slots.amin() < 0 or slots.amax() >= size:
        raise ValueError(f"slots must be in [0, {size}), got {slots.tolist()}")


def check_indices(slots: Tensor, name: str, shape: torch.Size) -> Tensor:
    """Check that ``slots`` are integers of the given shape, and return them as int64.

    Raises:
        ValueError: If shape or dtype are wrong.
    """
    if slots.shape != shape or slots.dtype == torch.bool or slots.is_floating_point() or slots.is_complex():
        raise ValueError(
            f"{name} must hold integers of shape {tuple(shape)}, "
            f"got {slots.dtype} of shape {tuple(slots.shape)}"
        )
    return slots.long()
