"""The probe on hosts that lack memory, files, rights or time: `make duress`.

Each case is a world of its own (`resources.py`, `places.py`, `programs.py`): a network, mount and
process namespace whose root is an overlay of this machine's, so whatever the probe leaves there is
found (`launcher.py`). The real probe is started in it as a host starts it, by the constant command
line, and what it sends is judged as a run judges it (`probing.py`). A verdict that differs from
this kernel's own is wrong.
"""
