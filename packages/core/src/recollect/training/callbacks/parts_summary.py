"""Table of the parts of a model; the numbers of parameters add up."""

from typing import NamedTuple, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichModelSummary
from rich import get_console
from rich.table import Table
from torch import nn

from recollect.memories.base import Memory


class Part(NamedTuple):
    """A part of a model.

    Attributes:
        name: Its name within the model.
        kind: Its class.
        parameters: Number of its parameters that no other part has.
    """

    name: str
    kind: str
    parameters: int


class PartsSummary(RichModelSummary):
    """Prints a table of the model's children and of each memory inside them; every parameter counts once."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table."""
        if not trainer.is_global_zero:
            return
        found = parts(cast(nn.Module, getattr(pl_module, "model", pl_module)))
        table = Table("part", "class", "parameters", header_style="bold")
        table.columns[2].justify = "right"
        for part in found:
            table.add_row(part.name, part.kind, f"{part.parameters:,}")
        frozen = sum(p.numel() for p in pl_module.parameters() if not p.requires_grad)
        total = f"{sum(part.parameters for part in found):,}"
        table.add_section()
        table.add_row("total", f"{frozen:,} not trained" if frozen else "", total, style="bold")
        get_console().print(table)


def parts(model: nn.Module) -> list[Part]:
    """The children of a model and the memories inside them; a parameter that two parts share is the first's.

    A child's number leaves out the memories that have a row of their own. Children without parameters have
    no row unless they are memories.

    Example:
        >>> from recollect import PrototypeMemory, VectorStorage
        >>> memory = PrototypeMemory(4, VectorStorage(4, 4, slots=8), prototypes=8)
        >>> encoder = nn.Sequential(nn.Linear(4, 4), memory)
        >>> model = nn.ModuleDict({"encoder": encoder, "output": nn.Linear(4, 2)})
        >>> [(part.name, part.kind) for part in parts(model)]
        [('encoder', 'Sequential'), ('encoder.1', 'PrototypeMemory'), ('output', 'Linear')]
        >>> sum(part.parameters for part in parts(model)) == sum(p.numel() for p in model.parameters())
        True
    """
    rows = {name: module for name, module in model.named_modules() if _has_row(name, module)}
    counts = dict.fromkeys(rows, 0)
    rest = 0
    for name, parameter in model.named_parameters():
        owner = max((row for row in rows if name.startswith(f"{row}.")), key=len, default=None)
        if owner is None:
            rest += parameter.numel()
        else:
            counts[owner] += parameter.numel()
    found = [
        Part(name, type(module).__name__, counts[name])
        for name, module in rows.items()
        if counts[name] or isinstance(module, Memory)
    ]
    return [*found, Part("(of its own)", type(model).__name__, rest)] if rest else found


def _has_row(name: str, module: nn.Module) -> bool:
    return bool(name) and ("." not in name or isinstance(module, Memory))
