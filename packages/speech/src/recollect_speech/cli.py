"""The command line: ``recollect-speech fit|validate|test|predict``."""

import sys
from collections.abc import Sequence
from pathlib import Path


def main(args: Sequence[str] | None = None) -> None:
    """Run a subcommand; ``args`` are the process's own by default. Bare help needs nothing heavy."""
    args = list(sys.argv[1:] if args is None else args)
    if not args or args[0] in ("-h", "--help"):
        configs = ", ".join(sorted(path.stem for path in Path(__file__).with_name("configs").glob("*.yaml")))
        print("usage: recollect-speech fit|validate|test|predict [--config NAME_OR_PATH …] [--help]")
        print(f"configs: {configs}; overlays: ddp, fsdp, wandb")
        return
    from recollect.training.cli import main as run

    run("recollect_speech", default="digits", args=args)
