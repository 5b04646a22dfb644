"""How long commands take to start and to answer.

Run ``uv run python benchmarks/startup.py``. Each figure is the median processor time of a process of its own.
"""

import argparse
import resource
import statistics
import subprocess
import sys

VISION = "from recollect_vision.cli import main; main({})"
IMPORTS = {
    "import torch": "import torch",
    "import recollect": "import recollect",
    "import lightning.pytorch": "import lightning.pytorch",
    "import recollect.training": "import recollect.training",
}
ANSWERS = {
    "--version": ["--version"],
    "--help": ["--help"],
    "fit --config omniglot --help": ["fit", "--config", "omniglot", "--help"],
    "wrong command": ["fitt"],
    "unknown config": ["fit", "--config", "didgits"],
    "misspelt flag": ["fit", "--trainer.max_epoch", "3"],
    "misspelt argument of a memory": ["fit", "--model.memory.prototyps", "3"],
}


def main() -> None:
    """Print a table of processor seconds, and the ratio of our imports to those that they build on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    programs = IMPORTS | {f"recollect-vision {name}": VISION.format(args) for name, args in ANSWERS.items()}
    seconds = {name: median_seconds(program, runs) for name, program in programs.items()}
    for name, value in seconds.items():
        print(f"{name:<50} {value:6.2f} s")
    core = seconds["import recollect"] - seconds["import torch"]
    training = seconds["import recollect.training"] / seconds["import lightning.pytorch"]
    print(
        f"import recollect: torch plus {core:.2f} s; "
        f"import recollect.training: {training:.2f} × lightning.pytorch"
    )


def median_seconds(program: str, runs: int) -> float:
    """Median processor seconds of a Python program, its start included."""
    return statistics.median(_seconds(program) for _ in range(runs))


def _seconds(program: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
