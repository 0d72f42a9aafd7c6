"""Fixtures that more than one test file uses, each in a module of its own."""

pytest_plugins = ("tests.sshd", "tests.accounts", "tests.sudoers", "tests.inventory_score")
"""sshd: sshd, dropbear, start_sshd, agent and keys, which are real SSH servers and agents on loopback.
accounts, sudoers: hosts of the tests' own with accounts, passwords, PAM and sudo, in mount namespaces.
inventory_score: how many inventories are read as Ansible reads them, in one line at the end."""
