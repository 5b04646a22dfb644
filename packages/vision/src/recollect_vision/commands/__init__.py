"""Subcommands of ``recollect-vision`` that evaluate trained runs."""
