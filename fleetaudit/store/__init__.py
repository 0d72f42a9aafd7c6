"""The folder of a run: manifest, journal, run.json, lock, retention and evidence deduplication."""
