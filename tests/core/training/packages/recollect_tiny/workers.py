"""What each of several processes does in the tests of distributed training."""

import os
import sys
import traceback
import warnings
from pathlib import Path


def work(rank: int, world: int, port: int, root: Path, commands: list[list[str]]) -> None:
    """Run command lines as process ``rank`` of ``world``; what it says goes to ``<root>/<rank>.log``."""
    log = (root / f"{rank}.log").open("w")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "WORLD_SIZE": str(world),
        "OMP_NUM_THREADS": "1",
    }
    import torch
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    torch.set_num_threads(1)
    rank_zero_only.rank = rank  # read from the environment on import, which was before this process began
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", ".*is deprecated", FutureWarning)
    from recollect.training.signals import Stopped
    from recollect_tiny.cli import main

    try:
        for command in commands:
            try:
                main(command)
            except Stopped:  # a test has asked for it
                continue
    except BaseException:
        traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # at once, for the other process may be waiting for this one
