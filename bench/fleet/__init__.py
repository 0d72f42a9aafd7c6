"""What an audit of many hosts costs the controller, compared with other ways to run a program over
SSH.

    python -m bench.fleet [--hosts N] [--rounds N] [--only NAME,NAME] [--json]

`lab` makes the hosts: addresses of a loopback sshd (`server`) in a network namespace of their own.
`recording` runs the real probe and plays its replies back. `contestants` lists what is compared,
`measure` counts what one of them costs, `table` prints the result.
"""
