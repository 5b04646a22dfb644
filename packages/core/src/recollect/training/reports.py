"""Commands that measure what is trained already: ``python -m MODULE RUN [RUN …]``."""

import sys
from collections.abc import Callable, Sequence

from recollect.training.errors import UserError
from recollect.training.trained import TrainedRun, load_run


def report_runs(
    module: str, report: Callable[[str, TrainedRun], None], args: Sequence[str] | None = None
) -> None:
    """Report on each of the run folders that a command line names.

    What is wrong with one of them goes to the standard error, and the process ends with status 1.

    Args:
        module: What stands after ``python -m``.
        report: Is given a folder and what is in it, its data fetched, and prints.
        args: The command line; that of the process by default.
    """
    folders = list(sys.argv[1:] if args is None else args)
    if not folders or folders[0] in ("-h", "--help"):
        print(f"usage: python -m {module} RUN [RUN …]")
        return
    try:
        for folder in folders:
            run = load_run(folder)
            run.data.prepare_data()
            report(folder, run)
    except UserError as error:
        print(f"{module}: error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
