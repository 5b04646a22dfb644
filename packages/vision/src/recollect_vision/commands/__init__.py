"""Commands that evaluate trained runs: ``python -m recollect_vision.commands.NAME RUN``."""
