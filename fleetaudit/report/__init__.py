"""Outputs, a file each: a `Comparison` goes in, text comes out.

Rules: nothing is decided here, only laid out. What a host said is hostile text in every one of
them.
"""
