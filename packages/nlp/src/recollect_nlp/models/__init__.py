"""Networks: torch modules only."""
