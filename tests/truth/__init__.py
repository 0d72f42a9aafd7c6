"""Holds the verdicts against what they must be: on this kernel and in guests, in random orders,
under load.
"""
