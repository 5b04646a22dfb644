"""Checks of constructor arguments and of the tensors that storages are given."""

from typing import NoReturn

import torch
from torch import Tensor

from recollect.ops.inspection import can_inspect, sums_finite
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


def check_rows(tensor: Tensor, name: str, size: int, mask: Tensor | None) -> None:
    """Check that a tensor has shape ``(…, n, size)``, and its mask ``(…, n)``, if there is one.

    Raises:
        ValueError: If a shape or the dtype of the mask is wrong.
    """
    if tensor.dim() < 2 or tensor.shape[-1] != size:
        raise ValueError(f"{name} must have shape (…, n, {size}), got {tuple(tensor.shape)}")
    if mask is not None:
        full_mask(tensor, mask, name)


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


def check_batch(rows: Tensor, name: str, batch: torch.Size) -> int:
    """Check that rows ``(…, n, *)`` end with the batch axes of the state, and return how many more they have.

    Raises:
        ValueError: If they have other batch axes.
    """
    extra = rows.dim() - 2 - len(batch)
    if extra < 0 or rows.shape[extra:-2] != batch:
        raise ValueError(
            f"{name} of shape {tuple(rows.shape)} does not go with a state of batch axes {tuple(batch)}"
        )
    return extra


def finite_rows(mask: Tensor, **rows: Tensor) -> tuple[Tensor, Tensor | None]:
    """Drop rows from ``mask`` ``(…, n)`` that hold a NaN or an infinity, or raise where that costs nothing.

    Args:
        mask: ``(…, n)`` bool.
        **rows: Tensors ``(…, n, *)`` by name, zero where masked; integers are always finite.

    Returns:
        The mask, and the number of rows that were dropped ``(…,)`` int64; ``None`` if the values were looked
        at and are all finite.

    Raises:
        ValueError: If a row is not finite, on CPU; the message names it.
    """
    rows = {name: tensor for name, tensor in rows.items() if tensor.is_floating_point()}
    if all(can_inspect(tensor) for tensor in (mask, *rows.values())):
        for name, tensor in rows.items():
            # A finite sum proves finite addends at the cost of one pass; huge addends may overflow it.
            if not (sums_finite(tensor) or tensor.isfinite().all()):
                _raise_not_finite(name, tensor, mask)
        return mask, None
    finite = mask
    for tensor in rows.values():
        finite = finite & tensor.detach().isfinite().reshape(*mask.shape, -1).all(-1)
    return finite, (mask & ~finite).sum(-1)


def _raise_not_finite(name: str, tensor: Tensor, mask: Tensor) -> NoReturn:
    bad = (~tensor.isfinite()).reshape(*mask.shape, -1).any(-1)
    first = tuple(bad.nonzero()[0].tolist())
    raise ValueError(
        f"{name}[{', '.join(map(str, first))}] holds a NaN or an infinity ({int(bad.sum())} of {bad.numel()} "
        "rows do): it would spoil every later read; mask such rows, or find out where they come from"
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
    if can_inspect(strength) and strength.numel():
        low, high = strength.detach().aminmax()
        if not (low >= 0 and high <= 1):  # also true of NaN
            raise ValueError(f"strength must be in [0, 1], got {low.item():g} to {high.item():g}")
    return strength


def check_weights(value: Tensor, **weights: Tensor) -> None:
    """Check the weights of a soft write: ``(…, H, *)`` for values ``(…, H, V)``, in [0, 1] on CPU.

    Raises:
        ValueError: If they are not.
    """
    for name, tensor in weights.items():
        if tensor.shape[:-1] != value.shape[:-1] or (name == "erase" and tensor.shape != value.shape):
            raise ValueError(
                f"{name} of shape {tuple(tensor.shape)} does not go with value of shape {tuple(value.shape)}"
            )
        if can_inspect(tensor) and tensor.numel():
            low, high = tensor.detach().aminmax()
            if not (low >= 0 and high <= 1):  # also true of NaN
                raise ValueError(f"{name} must be in [0, 1], got {low.item():g} to {high.item():g}")


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
    if not can_inspect(slots) or not slots.numel():
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
