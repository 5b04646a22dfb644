"""What is asked of the arguments of storages, and of their verbs."""

import torch
from torch import Tensor


def check_positive(**numbers: int) -> None:
    """Each number is at least 1.

    Raises:
        ValueError: If not, by the number's name.
    """
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")


def check_attention(sharpness: float | None, match_start: float) -> None:
    """A factor on the similarity is positive, where one is given, and a match can rise to 1.

    Raises:
        ValueError: If not.
    """
    if sharpness is not None and sharpness <= 0:
        raise ValueError(f"sharpness must be positive, got {sharpness}")
    if not 0 <= match_start < 0.999:
        raise ValueError(f"match_start must be in [0, 0.999), got {match_start}")


def check_buckets(buckets: int) -> None:
    """Buckets of a hash table are numbered by whole bits.

    Raises:
        ValueError: If not.
    """
    if buckets.bit_count() != 1 or not 1 <= buckets <= 2**32:
        raise ValueError(f"buckets must be a power of two up to 2**32, got {buckets}")


def check_rows(tensor: Tensor, name: str, size: int, mask: Tensor | None) -> Tensor:
    """Rows of width ``size`` have a mask that goes with them: ``mask``, or one that is true everywhere.

    Raises:
        ValueError: If not.
    """
    if tensor.dim() < 2 or tensor.shape[-1] != size:
        raise ValueError(f"{name} must have shape (…, n, {size}), got {tuple(tensor.shape)}")
    return full_mask(tensor, mask, name)


def check_steps(query: Tensor, key: Tensor, value: Tensor, *others: Tensor | None) -> None:
    """Queries, keys and values ``(…, T, ·)``, strengths and mask ``(…, T)`` are of as many steps.

    Raises:
        ValueError: If not.
    """
    shapes = [item.shape[:-1] for item in (query, key, value)]
    shapes += [item.shape for item in others if item is not None]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(
            "query, key, value, strengths and mask must have the same batch axes and as many steps, got "
            f"{', '.join(str(tuple(shape)) for shape in shapes)}"
        )


def check_batch(rows: Tensor, name: str, batch: torch.Size) -> None:
    """Rows (…, n, ·) have the batch axes of the state that they go with.

    Raises:
        ValueError: If not.
    """
    if rows.shape[:-2] != batch:
        raise ValueError(
            f"{name} of shape {tuple(rows.shape)} does not go with a state of batch axes {tuple(batch)}"
        )


def check_strength(strength: Tensor, mask: Tensor) -> Tensor:
    """Strengths (…, n), in [0, 1] where they are not masked, and zero elsewhere.

    Their range is looked at on CPU only: another device would have to be waited for.

    Raises:
        ValueError: If a strength is out of range, or they do not go with ``mask``.
    """
    if strength.shape != mask.shape or not strength.is_floating_point():
        raise ValueError(
            f"strength must be floating point of shape {tuple(mask.shape)}, "
            f"got {strength.dtype} of shape {tuple(strength.shape)}"
        )
    strength = blank(strength, mask)
    if strength.device.type == "cpu" and not torch.compiler.is_compiling() and strength.numel():
        low, high = strength.detach().aminmax()
        if not (low >= 0 and high <= 1):  # also if either is not a number
            raise ValueError(f"strength must be in [0, 1], got {low.item():g} to {high.item():g}")
    return strength


def check_inplace(inplace: bool) -> None:
    """Nothing is done in place while gradients are recorded.

    Raises:
        RuntimeError: If it is asked for.
    """
    if inplace and torch.is_grad_enabled():
        raise RuntimeError("inplace=True reuses the given state: call it under torch.no_grad()")


def full_mask(x: Tensor, mask: Tensor | None, name: str = "x") -> Tensor:
    """``mask``, or one that is true for every row of ``x`` ``(…, n, D)``, which is called ``name``.

    Raises:
        ValueError: If ``mask`` does not go with ``x``.
    """
    if mask is None:
        return torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device)
    if mask.shape != x.shape[:-1] or mask.dtype != torch.bool:
        raise ValueError(
            f"mask must be bool of shape {tuple(x.shape[:-1])} to go with {name}, "
            f"got {mask.dtype} of shape {tuple(mask.shape)}"
        )
    return mask


def blank(tensor: Tensor, mask: Tensor) -> Tensor:
    """Zero where masked, whatever stands there."""
    return tensor.masked_fill(~mask.reshape((*mask.shape, *[1] * (tensor.dim() - mask.dim()))), 0)
