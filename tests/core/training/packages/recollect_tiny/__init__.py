"""A domain package in small, for the tests of what the real ones share."""
