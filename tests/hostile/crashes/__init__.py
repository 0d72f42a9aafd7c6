"""Crash safety: kill -9, failing and full disks, clocks that jump, two commands at once, closed
streams and tight limits.

    make crashes ARGS='--only prune'

A command runs in a process of its own, a fork of a server that has its modules (`server.py`); a
library makes its N-th call of the C library fail or kill it (`faults.c`). Its hosts answer with a
reply that the probe gave on this machine. Afterwards the command is given again, or the run is
resumed, without the fault: the folder must then be what it is without any (`worlds.py`).
"""
