"""Make ``results/README.md`` from the files beside it, and files from run folders.

    uv run python results/build.py                    # write the page
    uv run python results/build.py --check            # exit 1 if the page differs from the files
    uv run python results/build.py add RUN [RUN …]    # enter the runs of one experiment, then write the page

A file is called DOMAIN/EXPERIMENT[+OVERLAY …].json: the short name of the config, then that of each further
config and of whatever else was changed. ``add`` takes the name from the command of the run, and task,
headline and published figures from the file of that name, of its twin or of its experiment. ``--name`` and
``--like`` override that.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from commands import RunError
from page import render
from runs import Description, add
from schema import FOLDER, Headline


def main(args: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Run the command line.

    Args:
        args: The arguments; those of the process by default.
        folder: The folder of the files.

    Returns:
        The exit status: 1 if the page differs or runs cannot be entered.
    """
    given = _parser().parse_args(args)
    page = folder / "README.md"
    try:
        if given.command == "add":
            print(add(folder, given.runs, _description(given), given.replace))
        text = render(folder)
    except (RunError, ValidationError, ValueError) as error:
        print(f"build.py: error: {error}", file=sys.stderr)
        return 1
    if given.check:
        if page.is_file() and page.read_text(encoding="utf-8") == text:
            return 0
        print(
            f"{page} differs from the files beside it; run: uv run python results/build.py", file=sys.stderr
        )
        return 1
    page.write_text(text, encoding="utf-8")
    return 0


def _description(given: argparse.Namespace) -> Description:
    headline = None
    if given.metric:
        headline = Headline(
            metric=given.metric,
            label=given.label or given.metric.removeprefix("test/"),
            better=given.better,
            digits=given.digits,
        )
    return Description(given.name, given.like, given.task, given.memory, headline, tuple(given.over))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="build.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page differs")
    adding = parser.add_subparsers(dest="command").add_parser("add", help="enter the runs of one experiment")
    adding.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder with a results.json")
    adding.add_argument(
        "--name", metavar="DOMAIN/NAME", help="name of the file, where flags make the experiment"
    )
    adding.add_argument("--like", metavar="DOMAIN/NAME", help="file to take task, headline and the like from")
    adding.add_argument("--task", help="what is measured, in words")
    adding.add_argument("--memory", help="the memory that the model has")
    adding.add_argument("--metric", help="the metric in the table, as results.json calls it")
    adding.add_argument("--label", help="what the table calls it")
    adding.add_argument("--better", choices=("higher", "lower"), default="higher")
    adding.add_argument("--digits", type=int, default=4, help="digits after the point in the table")
    adding.add_argument(
        "--over", nargs="+", default=[], metavar="OPTION", help="options in which runs differ: data.horizon"
    )
    adding.add_argument("--replace", action="store_true", help="drop the runs that the file already has")
    return parser


if __name__ == "__main__":
    sys.exit(main())
