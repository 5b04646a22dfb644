"""Speech recognition with a memory of what was heard."""
