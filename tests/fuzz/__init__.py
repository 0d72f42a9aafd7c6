"""Fuzzing of everything that reads what somebody else wrote.

One harness a target, in OSS-Fuzz's form: `fuzz_NAME.py` with `TestOneInput`. Each also has `seeds`,
the inputs to begin with, and `WORDS`, its dictionary. `make fuzz` runs all of them in turn for half
an hour, `test_fuzz.py` for some seconds; it also replays `finds/NAME/`, inputs that once broke
something, each with a line in `finds/README.md`.

`parsers.py` lists every parser of fleetaudit, and where it is fuzzed.
"""
