"""The table of what each storage can do, made from the classes themselves.

    uv run python docs/capabilities.py

writes it into packages/core/README.md. A test fails when the two differ.
"""

import inspect
import re
from pathlib import Path

import recollect
from recollect import Memory, SlotStorage, Storage
from recollect.storages import OrderedStorage

README = Path(__file__).parent.parent / "packages" / "core" / "README.md"
BLOCK = re.compile(r"(?<=<!-- capabilities -->\n).*?(?=<!-- /capabilities -->)", re.DOTALL)


def classes(base: type) -> list[type]:
    """The public classes of a kind that can be made, in the order of their names."""
    found = [item for item in vars(recollect).values() if inspect.isclass(item) and issubclass(item, base)]
    return sorted((item for item in found if not inspect.isabstract(item)), key=lambda item: item.__name__)


def overrides(storage: type[Storage], method: str) -> bool:
    """Whether a storage has a method of its own where the base class has a general one."""
    return getattr(storage, method) is not getattr(Storage, method)


def storage_row(storage: type[Storage]) -> list[str]:
    """One row of the table."""
    arguments = inspect.signature(storage).parameters
    return [
        f"`{storage.__name__}`",
        mark(issubclass(storage, SlotStorage)),
        mark(issubclass(storage, OrderedStorage)),
        mark("integer_keys" in arguments),
        mark(overrides(storage, "_scan")),
        mark(overrides(storage, "_read_value")),
        mark("top_k" in arguments),
    ]


def memory_row(memory: type[Memory]) -> list[str]:
    """What a memory asks of its storage."""
    needs = "entries by slot" if memory.storage_type is SlotStorage else "read, write, erase"
    keys = "integers" if memory.integer_keys else "real vectors"
    return [f"`{memory.__name__}`", f"`{memory.storage_type.__name__}`", needs, keys]


def mark(there: bool) -> str:
    """A tick, or nothing."""
    return "✓" if there else ""


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def capabilities() -> str:
    """Both tables."""
    head = ["storage", "entries by slot", "order", "integer keys", "parallel scan", "fused read", "`top_k`"]
    storages = table(head, [storage_row(storage) for storage in classes(Storage)])
    memories = table(
        ["memory", "storage", "needs", "keys"], [memory_row(memory) for memory in classes(Memory)]
    )
    return f"{storages}\n{memories}"


if __name__ == "__main__":
    README.write_text(BLOCK.sub(lambda _: capabilities(), README.read_text()))
