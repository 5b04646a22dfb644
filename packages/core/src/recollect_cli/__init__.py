"""The light front of every command line: help, configs and typos, answered before torch is imported.

``import recollect`` costs seconds, as torch does. What needs neither a model nor data is answered here in a
fraction of one: configs are YAML files, and the arguments of classes are read from their source.
"""

from recollect_cli.commands import Command
from recollect_cli.front import command_line

__all__ = ["Command", "command_line"]
