"""The tests; a folder of their own so that they can share fixtures by name."""
