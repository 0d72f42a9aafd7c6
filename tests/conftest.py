"""Fixtures that more than one test file uses, each in a module of its own."""

pytest_plugins = ("tests.sshd",)
"""sshd, dropbear, start_sshd, agent, keys: real SSH servers and agents on loopback."""
