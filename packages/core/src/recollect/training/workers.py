"""Number of worker processes that load data."""

import multiprocessing
import shutil
import signal

from lightning.fabric.utilities import suggested_max_num_workers

MOST = 8
"""Processes that load for one training process, at most: more rarely help, and each takes memory."""

SHARED_MEMORY = "/dev/shm"
"""Batches travel through it."""

ROOM = 2**30
"""Bytes of shared memory that must be free: a process whose batch does not fit is killed."""


def suggested_workers(batches: int, processes: int) -> int:
    """How many processes to load costly items with: all cores but one, up to eight, shared by ``processes``.

    There are no more than batches. There are none on two cores, where one would compete with the training;
    none where Python does not fork, since each then takes seconds to start; and none where shared memory is
    short, as in a container with the usual 64 MiB.

    Args:
        batches: Batches of an epoch.
        processes: Processes that train on this machine.
    """
    if multiprocessing.get_start_method() != "fork" or shutil.disk_usage(SHARED_MEMORY).free < ROOM:
        return 0
    workers = min(suggested_max_num_workers(processes), MOST)
    return min(workers, batches) if workers > 1 else 0


def leave_signals_to_trainer(worker: int) -> None:
    """Ignore SIGINT, and the first SIGTERM, in a process that loads.

    Both often go to all processes of a run. The trainer saves a checkpoint first, and needs a few more
    batches for that. A second SIGTERM ends the process: that is how Python stops what is left at its exit.

    Args:
        worker: Its number, as ``DataLoader`` gives it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda signum, frame: signal.signal(signum, signal.SIG_DFL))
