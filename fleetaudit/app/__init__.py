"""Use cases without a terminal: what the commands do, and the public Python API."""
