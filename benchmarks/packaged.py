"""Packaged configs as settings."""

from typing import Any

from recollect_cli.configs import find_config, memories, read_config


def packaged(package: str, name: str) -> dict[str, Any]:
    """The settings of a packaged config ``NAME``, or of its twin ``NAME+without-memory``.

    Raises:
        ValueError: If there is no such config, or the config has no memory.
    """
    config, _, overlay = name.partition("+")
    settings = read_config(find_config(config, package))
    if not overlay:
        return settings
    found = memories(settings)
    if overlay != "without-memory" or not found:
        raise ValueError(f"{config} has no twin {name!r}")
    settings["model"]["init_args"] |= dict.fromkeys(found)
    return settings
