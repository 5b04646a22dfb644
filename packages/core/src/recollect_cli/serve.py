"""``recollect serve``: a model with a lasting memory over HTTP."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from recollect_cli.commands import Parser
from recollect_cli.errors import ArgumentError, CheckpointError, UserError
from recollect_cli.runs import check_run, last_checkpoint

SUMMARY = "serve a model with a lasting memory: read, write, forget and explain over HTTP"

TOKEN = "RECOLLECT_TOKEN"
"""Environment variable with the token."""


def main(args: Sequence[str]) -> None:
    """Check the arguments, load the model and serve it.

    Raises:
        UserError: If an argument is wrong, or the model cannot be served.
        SystemExit: After ``--help``.
    """
    options = _parser().parse_args(list(args))
    factory = ":" in options.model and not Path(options.model).is_dir()
    if not factory:
        check_run(Path(options.model))
        last_checkpoint(Path(options.model))
    token = read_token(options.token_file)
    try:
        from recollect import serving  # imports torch: several seconds
    except ImportError as error:
        raise UserError(str(error)) from error
    declared = _declared(options.input) if options.input else None
    model, example = _from_factory(options.model) if factory else (_from_run(Path(options.model)), None)
    try:
        inputs = declared if example is None or declared is not None else serving.inputs_of(example)
        if options.store is not None:
            serving.use_disk(model, options.store, options.at)
        limits = serving.Limits(
            options.max_body << 10, options.max_batch, options.max_pending, options.max_together
        )
        serving.serve(model, options.host, options.port, token, inputs=inputs, at=options.at, limits=limits)
    except (ValueError, ImportError, OSError) as error:
        raise UserError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = Parser("recollect serve", description=SUMMARY, allow_abbrev=False)
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        help="run folder, or package.module:function that returns the model, or the "
        "model and an example of its input",
    )
    add(
        "--store",
        type=Path,
        metavar="PATH",
        help="folder of a DiskStorage that keeps the rows, in place of the storage that the model has",
    )
    add("--at", metavar="LAYER", help="name of the layer, if several have a lasting memory")
    add(
        "--input",
        action="append",
        metavar="SPEC",
        help="what the model takes: float32[3,32,32] or 'int64[*]<30000', after NAME= for several",
    )
    add("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine alone)")
    add("--port", type=_number(0, 65535), default=8000, help="port, 0 for a free one (default: 8000)")
    add(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"file with the token that writes need; or set {TOKEN}",
    )
    add(
        "--max-body",
        type=_number(1),
        default=4096,
        metavar="KIB",
        help="size of a request (default: 4096 KiB)",
    )
    add("--max-batch", type=_number(1), default=256, metavar="N", help="items of a request (default: 256)")
    add(
        "--max-pending",
        type=_number(1),
        default=256,
        metavar="N",
        help="requests that may wait; further ones are answered 503 (default: 256)",
    )
    add(
        "--max-together",
        type=_number(1),
        default=32,
        metavar="N",
        help="items of several requests that the model gets in one call (default: 32)",
    )
    return parser


def _number(least: int, most: int = 2**31) -> Any:
    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a number from {least} on, got {text!r}")
        return int(text)

    return number


def read_token(path: Path | None) -> str | None:
    """Read the token from a file, or from the environment.

    Raises:
        ArgumentError: If the file cannot be read.
    """
    if path is None:
        return os.environ.get(TOKEN) or None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"--token-file: {path} cannot be read: {error}") from error


def _declared(specs: Sequence[str]) -> Any:
    """The specs of ``--input``: one, or several by name."""
    from recollect.serving import InputSpec

    pairs = [spec.rpartition("=") for spec in specs]
    names = [name for name, _, _ in pairs]
    try:
        parsed = [InputSpec.parse(text) for _, _, text in pairs]
    except ValueError as error:
        raise ArgumentError(f"--input: {error}") from error
    if names == [""]:
        return parsed[0]
    if not all(names) or len(set(names)) < len(names):
        raise ArgumentError("--input: several inputs need different names, NAME=SPEC")
    return dict(zip(names, parsed, strict=True))


def _from_factory(path: str) -> tuple[Any, Any]:
    """The model that a function returns, and its example if there is one."""
    module, _, name = path.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        factory = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ArgumentError(f"there is no module {error.name!r} to take {name} from") from error
    except (AttributeError, ValueError) as error:
        raise ArgumentError(f"{path}: give package.module:function ({error})") from error
    if not callable(factory):
        raise ArgumentError(f"{path} is no function")
    made = factory()
    model, example = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    from torch import nn

    if not isinstance(model, nn.Module):
        raise ArgumentError(f"{path} returns no model but {type(model).__name__}")
    return model, example


def _from_run(folder: Path) -> Any:
    """The trained model of a run folder."""
    try:
        from recollect.training.load import load_run
    except ModuleNotFoundError as error:
        raise CheckpointError(f"a run needs the extra train (no module {error.name})") from error
    return load_run(folder).task.model
