"""The runs of a job over time. Pure.

Rules: a run that was removed is not there, and nothing is guessed about it. What a run cannot say
is unknown, never zero.
"""
