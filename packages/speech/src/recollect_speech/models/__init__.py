"""The networks: torch modules only."""
