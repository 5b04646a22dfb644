"""Whether mixed precision pays on this machine."""

from collections.abc import Mapping
from typing import Any

import torch

HALF = ("bf16-mixed", "bf16")
"""Names that Lightning has for training in bfloat16 with weights in single precision."""

INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""Any of these, on x86-64 and on ARM, computes with bfloat16; without one torch does it in software."""


def is_slower_in_half(
    precision: object, accelerator: object, capabilities: Mapping[str, Any] | None = None
) -> bool:
    """Whether this CPU emulates mixed precision in software, about four times slower than none.

    Args:
        precision: As Lightning's trainer is given it.
        accelerator: Likewise, a name or an object.
        capabilities: What the CPU can do: see ``torch.cpu.get_capabilities``, whose answer is the default.

    Example:
        >>> is_slower_in_half("bf16-mixed", "cpu", {"avx512_bf16": False})
        True
        >>> is_slower_in_half("bf16-mixed", "cpu", {"amx_bf16": True})
        False
    """
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
    if precision not in HALF or not on_cpu:
        return False
    known = torch.cpu.get_capabilities() if capabilities is None else capabilities
    return not any(known.get(name) for name in INSTRUCTIONS)
