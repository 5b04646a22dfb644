"""The command line: ``recollect-timeseries``."""

from recollect_cli import command_line

main = command_line("recollect_timeseries", default="co2")
