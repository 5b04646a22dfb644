"""Question answering and translation with a memory."""
