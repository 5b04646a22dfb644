"""The input of another part of the model, seen as the model runs."""

from threading import get_ident
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


@final
class Capture:
    """A forward pre-hook that keeps the first argument of a part of a model.

    Args:
        name: Dotted name of the part; ``None`` for no part.
    """

    def __init__(self, name: str | None) -> None:
        self.name = name
        self._values: dict[int, Tensor] = {}  # by thread, since several may call the model at once
        self._handle: RemovableHandle | None = None

    def attach(self, model: nn.Module) -> None:
        """Watch the part of a model.

        Raises:
            ValueError: If it has no such part.
        """
        if self.name is None:
            return
        parts = dict(model.named_modules(remove_duplicate=False))
        if self.name not in parts:
            raise ValueError(f"no part of {type(model).__name__} is called {self.name!r}")
        self._handle = parts[self.name].register_forward_pre_hook(self, with_kwargs=True)

    def detach(self) -> None:
        """Stop watching."""
        if self._handle is not None:
            self._handle.remove()
        self._handle = None
        self._values.clear()

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep the first tensor among the arguments."""
        first = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        self._values[_thread()] = first.detach()

    @property
    def value(self) -> Tensor:
        """The tensor that the part was last called with.

        Raises:
            ValueError: If the part was not called.
        """
        if _thread() not in self._values:
            raise ValueError(f"{self.name} was not called before the layer with the memory")
        return self._values[_thread()]


def _thread() -> int:
    """This thread; a compiled graph is traced in one."""
    return 0 if torch.compiler.is_compiling() else get_ident()
