"""The command line that every application package shares."""

import argparse
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from recollect.training.arguments import interpret
from recollect.training.callbacks import Interrupted
from recollect.training.checkpoints import command_of
from recollect.training.errors import ArgumentError, UserError
from recollect.training.lightning_cli import RecollectCLI
from recollect.training.loggers import finish, quietly
from recollect.training.run_folder import first_process
from recollect.training.signals import Stopped, stopping

EXPECTED_WARNINGS = (
    "Checkpoint directory .* exists and is not empty",  # a resumed run goes on in its own folder, by design
    "Total length of .list. across ranks is zero",  # data without a test split
    "The dirpath has changed from",  # a run that starts from another's checkpoint has a folder of its own
    ".*_get_pg_default_device. will be deprecated",  # torch calls it itself to load a sharded single number,
    "Multiple backends are registered with this ProcessGroup",  # then complains of its CPU and GPU
    "Be aware that when using `ckpt_path`, callbacks .*LastCheckpoint",  # checkpoints are off
    r".isinstance\(treespec, LeafSpec\). is deprecated",  # Lightning 2.6 on torch 2.14; no matter to a user
)


def main(package: str, default: str, args: Sequence[str] | None = None) -> None:
    """Run ``fit``, ``validate``, ``test`` or ``predict`` with the configs of a package.

    Args:
        package: Import name of the package whose ``configs`` folder holds the configs.
        default: Short name of the config that is used where none is given.
        args: The command line; that of the process by default.

    Raises:
        SystemExit: With 2 for a wrong argument, 1 for wrong data or checkpoints, 128 + n after signal n.
    """
    args = list(sys.argv[1:] if args is None else args)
    program = command_of(package)
    with _reporting(program):
        RecollectCLI(program, interpret(package, default, args))


def run_module(program: str, module: str, options: argparse.Namespace) -> None:
    """Run a further command.

    Args:
        program: Name of the package's command.
        module: The module whose function ``run`` takes the parsed arguments.
        options: The parsed arguments.

    Raises:
        SystemExit: With 2 for a wrong argument, 1 for wrong data or checkpoints, 128 + n after signal n.
    """
    with _reporting(program):
        import_module(module).run(options)


@contextmanager
def _reporting(program: str) -> Iterator[None]:
    """Show errors and signals as one line each and exit with their code; silence expected warnings."""
    # Lightning calls methods that jsonargparse has renamed; a user can do nothing about it.
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    try:
        with warnings.catch_warnings(), quietly(), stopping():
            for message in EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message)
            yield
    except Interrupted as stop:
        if first_process():
            config = shlex.quote(str(stop.checkpoint.parent.parent / "config.yaml"))
            print(f"stopped; {stop.checkpoint} is saved. To go on:", flush=True)
            print(f"  {program} fit --config {config} --ckpt_path last", flush=True)
        raise
    except Stopped as stop:
        print(f"{program}: stopped by {signal.Signals(stop.signum).name}", file=sys.stderr, flush=True)
        raise
    except UserError as error:
        print(f"{program}: error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(2 if isinstance(error, ArgumentError) else 1) from error
    finally:
        finish()
