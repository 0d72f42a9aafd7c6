"""Inventories, playbooks, waivers and other files of somebody who means harm.

Every case runs the real command, in a folder of its own, under limits of memory and CPU and under
strace. As it must be: an exit status of the list, a message with its place, no traceback, no hang,
no program that it was not to start, and nothing of a secret file in any output.
"""
