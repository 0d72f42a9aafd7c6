"""Canaries: secrets with texts of their own, used in real runs, and searched for in everything that
these runs write, print, start or leave.

    canaries.py   the secrets, and every form in which one may show
    watching.py   what other processes can see: command lines and environments, all the time
    world.py      real hosts: sshd, sudo and su, a jump host, hosts that print what they get
    attacks.py    the runs: each transport, succeeding and failing at each stage, and crashes
    cases.py      one row a run: what was searched, and what was found
"""
