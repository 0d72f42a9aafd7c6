"""Outputs, one module each, and the table of them in `registry`.

Rules: nothing is decided here, only formatted. Text from a host is hostile in every output.
"""
