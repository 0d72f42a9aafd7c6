"""Attacks on fleetaudit, each section a table that one command prints: `make faults`, `make lies` …

A section is a module or package here with a `main`, and tests in `test_NAME.py`, which run all of
it or, where it takes minutes, a named part. `table.py` runs the cases of a section. Nothing is a
mock: servers, kernels, browsers and file systems are real.
"""
