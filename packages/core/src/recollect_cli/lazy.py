"""Public names of a package, imported on first use."""

from collections.abc import Callable
from importlib import import_module

from recollect_cli.signatures import typing_imports


def lazy_imports(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package that imports its public names on first use (PEP 562).

    The names are those that its ``__init__.py`` imports under ``if TYPE_CHECKING:``, where type checkers and
    the help of the command line find them. Importing the package stays cheap.

    Args:
        package: ``__name__`` of the package.

    Example::

        if TYPE_CHECKING:
            from recollect_nlp.tasks.translation import Translation
        else:
            __getattr__, __dir__ = lazy_imports(__name__)
    """

    def get(name: str) -> object:
        path = typing_imports(package).get(name)
        if path is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = path.rpartition(".")
        return getattr(import_module(module), attribute)

    def names() -> list[str]:
        return sorted({*vars(import_module(package)), *typing_imports(package)})

    return get, names
