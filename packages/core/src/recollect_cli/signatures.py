"""Arguments of classes, read from their source without importing it."""

import ast
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

MAX_HOPS = 8
"""How many re-exports and base classes are followed."""

EMPTY_BASES = {"ABC", "Generic", "Protocol", "object"}
"""Bases whose constructors take no arguments."""


class Parameter(NamedTuple):
    """One argument of a class.

    Attributes:
        name: Its name.
        annotation: Its type as the source writes it; empty where there is none.
        default: Its default as the source writes it; ``None`` where it is required.
    """

    name: str
    annotation: str
    default: str | None


class Signature(NamedTuple):
    """The arguments of a class.

    Attributes:
        parameters: By name, including those of base classes that ``**kwargs`` passes on.
        docstrings: Of the class and of its bases; their ``Args`` sections describe the parameters.
    """

    parameters: dict[str, Parameter]
    docstrings: list[str]


class _Definition(NamedTuple):
    module: str
    node: ast.ClassDef | ast.FunctionDef


@lru_cache
def signature(path: str) -> Signature | None:
    """The arguments of the class or function ``package.module.Name``; ``None`` if its source does not tell.

    Example:
        >>> list(signature("recollect_cli.signatures.Parameter").parameters)
        ['name', 'annotation', 'default']
        >>> signature("recollect_cli.signatures.Missing") is None
        True
    """
    found = _find(path)
    if found is None:
        return None
    parameters = _parameters(found, MAX_HOPS)
    if parameters is None:
        return None
    return Signature({item.name: item for item in parameters}, list(_docstrings(found, MAX_HOPS)))


@lru_cache
def method_parameters(path: str, method: str) -> dict[str, Parameter]:
    """The arguments of a method, by name, without ``self``; empty where the source does not tell."""
    found = _find(path)
    node = _method(found.node, method) if found is not None else None
    return {item.name: item for item in _arguments(node, skip_first=True)} if node is not None else {}


@lru_cache
def typing_imports(module: str) -> dict[str, str]:
    """The names that a module imports under ``if TYPE_CHECKING:``, with their full paths."""
    source = _parse(module)
    nodes = [node for branch in source.body for node in _typing_branch(branch)] if source is not None else []
    return dict(pair for node in nodes for pair in _imports(node, module))


def _parameters(found: _Definition, hops: int) -> list[Parameter] | None:
    """Own arguments first, then those of the bases that ``**kwargs`` passes on."""
    if isinstance(found.node, ast.FunctionDef):
        return list(_arguments(found.node, skip_first=False))
    if _is_record(found.node):
        return list(_fields(found.node))
    init = _method(found.node, "__init__")
    if init is None:
        return _inherited(found, hops)
    own = list(_arguments(init, skip_first=True))
    if init.args.kwarg is None:
        return own
    inherited = _inherited(found, hops)
    if inherited is None:
        return None
    names = {item.name for item in own} | _fixed(init)
    return own + [item for item in inherited if item.name not in names]


def _fixed(init: ast.FunctionDef) -> set[str]:
    """The arguments of the base that a constructor sets itself, so that ``**kwargs`` cannot pass them on."""
    calls = [node for node in ast.walk(init) if isinstance(node, ast.Call)]
    to_base = [call for call in calls if ast.unparse(call.func) == "super().__init__"]
    return {keyword.arg for call in to_base for keyword in call.keywords if keyword.arg is not None}


def _inherited(found: _Definition, hops: int) -> list[Parameter] | None:
    named = _base_names(found)
    if not named:
        return []
    base = _resolve(named[0], found.module, hops - 1)
    return None if base is None else _parameters(base, hops - 1)


def _docstrings(found: _Definition, hops: int) -> Iterator[str]:
    yield ast.get_docstring(found.node) or ""
    for name in _base_names(found):
        base = _resolve(name, found.module, hops - 1)
        if base is not None:
            yield from _docstrings(base, hops - 1)


def _base_names(found: _Definition) -> list[str]:
    """The bases that may take arguments, as the source writes them, without type arguments."""
    nodes = found.node.bases if isinstance(found.node, ast.ClassDef) else []
    names = [ast.unparse(node.value if isinstance(node, ast.Subscript) else node) for node in nodes]
    return [name for name in names if name.split(".")[-1] not in EMPTY_BASES]


def _arguments(node: ast.FunctionDef, skip_first: bool) -> Iterator[Parameter]:
    positional = [*node.args.posonlyargs, *node.args.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults))
    defaults += node.args.defaults
    pairs = list(zip(positional, defaults, strict=True))[int(skip_first) :]
    pairs += zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    for argument, default in pairs:
        annotation = ast.unparse(argument.annotation) if argument.annotation else ""
        yield Parameter(argument.arg, annotation, ast.unparse(default) if default else None)


def _fields(node: ast.ClassDef) -> Iterator[Parameter]:
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            default = ast.unparse(part.value) if part.value else None
            yield Parameter(part.target.id, ast.unparse(part.annotation), default)


def _is_record(node: ast.ClassDef) -> bool:
    """Whether the class body lists the arguments: a dataclass or a named tuple."""
    marks = [ast.unparse(mark).split("(")[0] for mark in node.decorator_list]
    bases = [ast.unparse(base) for base in node.bases]
    return any(mark.endswith("dataclass") for mark in marks) or "NamedTuple" in bases


def _method(node: ast.AST, name: str) -> ast.FunctionDef | None:
    body = node.body if isinstance(node, ast.ClassDef) else []
    return next((part for part in body if isinstance(part, ast.FunctionDef) and part.name == name), None)


def _find(path: str, hops: int = MAX_HOPS) -> _Definition | None:
    """The definition of ``package.module.Name``, re-exports followed."""
    module, _, name = path.rpartition(".")
    source = _parse(module) if module and hops > 0 else None
    if source is None:
        return None
    for node in source.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return _Definition(module, node)
    return _resolve(name, module, hops - 1)


def _resolve(name: str, module: str, hops: int) -> _Definition | None:
    """What ``name`` stands for in ``module``: a class of its own, or what an import statement brings."""
    source = _parse(module) if hops > 0 else None
    if source is None:
        return None
    first, _, rest = name.partition(".")
    for node in _statements(source):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return _Definition(module, node)
        for alias, target in _imports(node, module):
            if alias == first:
                return _find(f"{target}.{rest}" if rest else target, hops - 1)
    return None


def _statements(source: ast.Module) -> Iterator[ast.stmt]:
    """The statements of a module, those under ``if TYPE_CHECKING:`` among them."""
    for node in source.body:
        yield from _typing_branch(node) or [node]


def _typing_branch(node: ast.stmt) -> list[ast.stmt]:
    """The statements under ``if TYPE_CHECKING:``; none for another statement."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return node.body
    return []


def _imports(node: ast.stmt, module: str) -> Iterator[tuple[str, str]]:
    """Names that an import statement binds, and the full path of each."""
    if isinstance(node, ast.ImportFrom):
        origin = node.module or ""
        if node.level:
            parts = module.split(".") if _is_package(module) else module.split(".")[:-1]
            kept = parts[: len(parts) - node.level + 1]
            origin = ".".join([*kept, origin] if origin else kept)
        for name in node.names:
            yield name.asname or name.name, f"{origin}.{name.name}"
    elif isinstance(node, ast.Import):
        for name in node.names:
            bound = name.asname or name.name.split(".")[0]
            yield bound, name.name if name.asname else bound


@lru_cache
def _locate(module: str) -> Path | None:
    top, *rest = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    for root in spec.submodule_search_locations or []:
        path = Path(root, *rest)
        for candidate in (path / "__init__.py", path.with_suffix(".py")):
            if candidate.is_file():
                return candidate
    return Path(spec.origin) if spec.origin and not rest and spec.origin.endswith(".py") else None


def _is_package(module: str) -> bool:
    path = _locate(module)
    return path is not None and path.name == "__init__.py"


@lru_cache
def _parse(module: str) -> ast.Module | None:
    path = _locate(module)
    try:
        return ast.parse(path.read_text(encoding="utf-8")) if path is not None else None
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None  # the real import says what is wrong with it
