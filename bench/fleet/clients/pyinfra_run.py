"""pyinfra's API: connects to every host and runs the command. It connects as pyinfra does, with
paramiko on gevent.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

from gevent.pool import Pool  # noqa: E402
from pyinfra.api import Config, Host, Inventory, State, StringCommand  # noqa: E402
from pyinfra.context import ctx_state  # noqa: E402

from . import Replies, job  # noqa: E402


def main() -> None:
    found = job()
    replies = Replies(found)
    data = {
        "ssh_port": found.port,
        "ssh_user": found.user,
        "ssh_key": found.key,
        "ssh_allow_agent": False,
        "ssh_look_for_keys": False,
        "ssh_known_hosts_file": found.known_hosts,
        "ssh_strict_host_key_checking": "yes",
    }
    inventory = Inventory((found.addresses, data))
    state = State(inventory, Config(PARALLEL=found.forks))
    command = StringCommand(found.command)

    def run(host: Host) -> None:
        with ctx_state.use(state):
            host.connect(raise_exceptions=True)
            done, output = host.run_shell_command(command, _stdin=found.stdin.decode())
            host.disconnect()
        if done:
            replies.add(host.name, "".join(f"{line}\n" for line in output.stdout_lines).encode())

    pool = Pool(found.forks)
    for host in inventory:
        pool.spawn(run, host)
    pool.join()
    replies.write()


if __name__ == "__main__":
    main()
