"""What the folder of a run costs: bytes a host, and the CPU time and memory of reading it.

    python -m bench.store [--hosts N] [--run FOLDER]

The hosts are made of one genuine audit of this machine (of the first host of FOLDER, if it is
given): 40 kernel builds; every tenth host has two endings of its own, every third sysctls of its
memory; counters, address and machine id are each host's own. The store is compared with what the
version before wrote, run.json and a journal of the same size. Each way of reading runs in a process
of its own, whose whole memory at its peak is shown. The exit status is 1 if the store takes more
than 4 KB a host, one host more than 0.6 s or 80 MB, or the whole run more than 6 s or 400 MB.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

import fleetaudit
from fleetaudit.model import Audited, AuditRun, Exposure, Kernel, Observation, Sysctl
from fleetaudit.store.deduplication import EvidenceDeduplicator
from fleetaudit.store.run_file import encode_run_in_chunks, read_head, read_hosts, read_run
from fleetaudit.store.store_file import encode_store

BUILDS = 40
KILOBYTES, HOST_S, HOST_MB, RUN_S, RUN_MB = 4.0, 0.6, 80.0, 6.0, 400.0


def genuine_run(folder: str) -> AuditRun:
    """Returns the run in a folder, or that of this machine."""
    if folder:
        return fleetaudit.load_run(folder)
    return fleetaudit.audit(fleetaudit.load_inventory("localhost,"))


def fleet(model: Audited, count: int) -> Iterator[Audited]:
    """Yields the hosts of a fleet like one host, deduplicated as a run does it."""
    deduplicator = EvidenceDeduplicator()
    for n in range(count):
        host = replace(
            model,
            name=f"web{n:05}.dc{n % 3}.example.net",
            groups=("web", f"dc{n % 3}"),
            kernel=Kernel(
                release=f"6.{n % BUILDS}.43-amd64", version=f"#{n % BUILDS}", machine="x86_64"
            ),
            machine_id=f"{n:032x}",
            observations=tuple(own_endings(model.observations, n)),
            sysctls=own_sysctls(model.sysctls, n),
            exposure=own_exposure(model.exposure, n),
            elapsed_s=4 + n / 1e6,
        )
        yield deduplicator.deduplicate(host)


def own_endings(observations: Iterable[Observation], n: int) -> Iterator[Observation]:
    """Yields the observations at a time of their own; every tenth host has two that differ."""
    odd = {n % 97, n % 89} if n % 10 == 0 else set[int]()
    for place, o in enumerate(observations):
        if o.evidence.connection:
            connection = replace(o.evidence.connection, began=1e9 + n)
            o = replace(o, evidence=replace(o.evidence, connection=connection))
        if place in odd and o.trials:
            yield replace(
                o, ending="inconclusive", endings={"RST": 2, "FIN": 1}, reason=f"trial {n % 3}"
            )
        else:
            yield o


def own_sysctls(sysctls: dict[str, Sysctl], n: int) -> dict[str, Sysctl]:
    """Returns the sysctls with those that depend on the memory of a host, of 20 sizes."""
    if n % 3:
        return dict(sysctls)
    pages = str(1000 * (n % 20))
    return {
        key: replace(value, value=pages) if key.endswith(("mem", "orphans")) else replace(value)
        for key, value in sysctls.items()
    }


def own_exposure(exposure: Exposure | None, n: int) -> Exposure | None:
    """Returns the counters of a host."""
    if exposure is None:
        return None
    counters = {key: value + n * 7919 for key, value in exposure.counters.items()}
    return replace(exposure, uptime_s=1e6 + n, counters=counters)


def cost(function: Callable[[Path], object], path: Path) -> tuple[float, float]:
    """Returns the seconds of CPU and the peak of memory in MB of a function; for a new process."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is that of the parent
    began = time.process_time()
    function(path)
    took = time.process_time() - began
    status = Path("/proc/self/status").read_text()
    return took, int(status.partition("VmHWM:")[2].split()[0]) / 1024


def write(path: Path, chunks: Iterable[bytes]) -> None:
    """Writes a file and prints what it cost."""
    began = time.process_time()
    with path.open("wb") as file:
        file.writelines(chunks)
    print(
        f"  {path.name}: {path.stat().st_size / 1e6:.1f} MB in {time.process_time() - began:.1f} s"
    )


def read_one(path: Path) -> AuditRun:
    """Reads a host in the middle of the run."""
    return read_hosts(path, ("web00777.dc0.example.net",))


READERS: dict[str, Callable[[Path], object]] = {
    "the head": read_head,
    "one host": read_one,
    "all hosts": read_run,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--run", default="")
    parser.add_argument("--no-export", action="store_true", help="do not measure run.json")
    options = parser.parse_args()
    run = genuine_run(options.run)
    (model,) = run.audited[:1]
    run = replace(run, hosts=tuple(fleet(model, options.hosts)))
    found = dict[object, Any]()
    with tempfile.TemporaryDirectory() as folder:
        store, export = Path(folder) / "store.jsonl", Path(folder) / "run.json"
        print(f"{options.hosts:,} hosts, written:")
        write(store, encode_store(run))
        if not options.no_export:
            write(export, encode_run_in_chunks(run))
        found["KB a host"] = store.stat().st_size / 1000 / options.hosts
        print(f"  {found['KB a host']:.2f} KB a host")
        del run
        for path in (store, export):
            if not path.exists():
                continue
            print(f"read from {path.name}:")
            for name, function in READERS.items():
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    took, memory = pool.apply(cost, (function, path))
                print(f"  {name}: {took:.3f} s of CPU, {memory:.0f} MB")
                found[path.name, name] = took, memory
    one, whole = found["store.jsonl", "one host"], found["store.jsonl", "all hosts"]
    measured = (found["KB a host"], *one, *whole)
    bounds = (KILOBYTES, HOST_S, HOST_MB, RUN_S, RUN_MB)
    return int(any(value > most for value, most in zip(measured, bounds, strict=True)))


if __name__ == "__main__":
    sys.exit(main())
