"""Speech recognition with memory."""
