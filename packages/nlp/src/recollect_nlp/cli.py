"""The command line: ``recollect-nlp fit|validate|test|predict``."""

from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> None:
    """Run a subcommand; ``args`` are the process's own by default."""
    from recollect.training.cli import main

    main("recollect_nlp", default="stories", args=args)
