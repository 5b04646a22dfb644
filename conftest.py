"""What holds for all tests."""

import gc
import os
import shutil
from collections.abc import Generator

import pytest

# Tests run in several processes, and each of them would take all the cores. Torch reads this when it is
# imported; the process that hands out the tests imports nothing as heavy.
os.environ["OMP_NUM_THREADS"] = "1"

# Without a GPU, Triton's kernels run in its interpreter. Triton reads this when it is imported.
if shutil.which("nvidia-smi") is None:
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--cores N`` shows that nothing depends on how many cores the machine has."""
    parser.addoption("--cores", type=int, help="run the tests as on a machine with this many cores")


def pytest_configure(config: pytest.Config) -> None:
    """Fake the number of cores, for as long as the process lives."""
    cores = config.getoption("--cores")
    if cores is None:
        return
    os.cpu_count = lambda: cores
    os.sched_getaffinity = lambda pid: set(range(cores))
    if hasattr(os, "process_cpu_count"):  # since Python 3.13
        os.process_cpu_count = lambda: cores


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from the million objects that imports make, now and later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
