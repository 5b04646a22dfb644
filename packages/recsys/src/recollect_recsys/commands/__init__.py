"""Commands beyond fit, validate, test and predict."""
