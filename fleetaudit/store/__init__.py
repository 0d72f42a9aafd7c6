"""The folder of a run: manifest, journal, store, run.json, lock, retention and evidence
deduplication.
"""
