"""What every engine must do, as a test suite for any engine."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from recollect.testing.engine_checks import (
    check_bad_input,
    check_claim,
    check_compact,
    check_default_device,
    check_erase,
    check_origins,
    check_scan,
    check_search,
    check_spaces,
    check_version,
)
from recollect.testing.engine_sequences import check_sequences, check_threads
from recollect.testing.engine_trial import EngineMaker

ENGINE_CHECKS: Mapping[str, Callable[[EngineMaker], None]] = MappingProxyType(
    {
        "search": check_search,
        "spaces": check_spaces,
        "erase": check_erase,
        "origins": check_origins,
        "scan": check_scan,
        "version": check_version,
        "claim": check_claim,
        "bad input": check_bad_input,
        "threads": check_threads,
        "default device": check_default_device,
        "compact": check_compact,
        "sequences": check_sequences,
    }
)
"""What an engine promises, by name; each check raises ``AssertionError`` if it is broken."""


def check_engine(make: EngineMaker) -> None:
    """Check all that ``Engine`` promises within one process.

    Args:
        make: Makes a new, empty engine of a metric.

    Raises:
        AssertionError: If a promise is broken; the message names it.

    Example:
        >>> from recollect.testing import ListEngine
        >>> check_engine(lambda metric: ListEngine(4, 2, metric))
    """
    for name, check in ENGINE_CHECKS.items():
        try:
            check(make)
        except AssertionError as error:
            raise AssertionError(f"the engine breaks the promise {name!r}: {error}") from error
