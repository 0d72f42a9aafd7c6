"""Inventories, playbooks, waivers and other files of an attacker.

Every case runs the real command, in a folder of its own, under limits of memory and CPU and under
strace. The right result: an expected exit status, a message with its place, no traceback, no hang,
no program that must not start, and nothing of a secret file in any output.
"""
