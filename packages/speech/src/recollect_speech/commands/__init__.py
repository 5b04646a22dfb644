"""Further commands. Each is a subcommand of ``recollect-speech``."""
