"""recollect-tiny: recall, in small."""

import sys
from collections.abc import Sequence
from pathlib import Path


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; help needs nothing heavy."""
    args = list(sys.argv[1:] if args is None else args)
    if not args or args[0] in ("-h", "--help"):
        folder = Path(__file__).with_name("configs")
        configs = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        print(
            f"usage: recollect-tiny fit|validate|test|predict [--config NAME_OR_PATH …]\nconfigs: {configs}"
        )
        return
    from recollect.training.cli import main as run

    run("recollect_tiny", "recall", args)


if __name__ == "__main__":
    main()
