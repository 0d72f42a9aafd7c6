"""How long 50,000 hosts take to read and to group, in how much memory, and that both grow no faster
than the hosts.

    python -m bench.inventory [--hosts N]

Prints a line for each format and size: CPU seconds, peak memory of a fresh process, and the ratio
to half the size (2.0 is linear). Ends with status 1 where the YAML file of N hosts takes 5 s or 500
MB, or four times the hosts take more than six times as long.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SECONDS, MEGABYTES, GROWTH = 5.0, 500.0, 6.0
GROUP = 1000


def hosts(count: int) -> Iterator[tuple[int, str, str]]:
    """Yields the group, the name and the address of each host."""
    for n in range(count):
        yield n // GROUP, f"h{n}.example.com", f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"


def write_yaml(path: Path, count: int) -> None:
    with path.open("w") as file:
        file.write("all:\n  vars: {ansible_user: audit}\n  children:\n")
        for group, name, address in hosts(count):
            if name.startswith(f"h{group * GROUP}."):
                file.write(f"    g{group}:\n      hosts:\n")
            file.write(f"        {name}: {{ansible_host: {address}}}\n")


def write_ini(path: Path, count: int) -> None:
    with path.open("w") as file:
        for group, name, address in hosts(count):
            if name.startswith(f"h{group * GROUP}."):
                file.write(f"[g{group}]\n")
            file.write(f"{name} ansible_host={address}\n")
        file.write("[all:vars]\nansible_user=audit\n")


def write_json(path: Path, count: int) -> None:
    import json

    groups: dict[str, list[str]] = {}
    variables = {}
    for group, name, address in hosts(count):
        groups.setdefault(f"g{group}", []).append(name)
        variables[name] = {"ansible_host": address, "ansible_user": "audit"}
    listing = {
        "_meta": {"hostvars": variables},
        **{g: {"hosts": names} for g, names in groups.items()},
    }
    path.write_text(json.dumps(listing, indent=4))


FORMATS = {
    "yaml": ("hosts.yml", write_yaml),
    "ini": ("hosts.ini", write_ini),
    "json": ("hosts.json", write_json),
}


def measure(path: str, count: int) -> tuple[float, float]:
    """Returns the CPU seconds and the peak megabytes of this process after reading `path` and
    choosing a third.
    """
    from fleetaudit.inventory import load_inventory
    from fleetaudit.inventory.patterns import select_hosts

    began = time.process_time()
    inventory = load_inventory([path])
    chosen = select_hosts(inventory, "g1*:!*7.example.com")
    seconds = time.process_time() - began
    if len(inventory.hosts) != count or not chosen:
        raise SystemExit("the inventory was not read")
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hosts", type=int, default=50_000)
    most: int = parser.parse_args().hosts
    too_much = False
    with (
        tempfile.TemporaryDirectory() as folder,
        multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool,
    ):
        for name, (file, write) in FORMATS.items():
            taken = list[float]()
            for count in (most // 4, most // 2, most):
                path = Path(folder, file)
                write(path, count)
                seconds, megabytes = pool.apply(measure, (str(path), count))
                ratio = f"  x{seconds / taken[-1]:.2f}" if taken else ""
                print(f"{name:5} {count:7,} hosts  {seconds:6.2f} s  {megabytes:6.0f} MB{ratio}")
                taken.append(seconds)
                too_much |= name == "yaml" and (seconds > SECONDS or megabytes > MEGABYTES)
            too_much |= taken[-1] / taken[0] > GROWTH
    return int(too_much)


if __name__ == "__main__":
    sys.exit(main())
