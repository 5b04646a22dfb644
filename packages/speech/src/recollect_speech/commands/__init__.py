"""Further commands. Each runs as ``python -m recollect_speech.commands.<name>``."""
