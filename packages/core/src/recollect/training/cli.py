"""The command line that every application package shares."""

from collections.abc import Sequence


def main(package: str, default: str, args: Sequence[str] | None = None) -> None:
    """Run ``fit``, ``validate``, ``test`` or ``predict`` with the configs of a package.

    Args:
        package: Import name of the package whose ``configs`` folder holds the configs.
        default: Short name of the config that ``fit`` uses where none is given.
        args: The command line; that of the process by default.
    """
    raise NotImplementedError
