"""A file of waivers: `analysis.waivers`.

A success is waivers that can be applied to a run.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from tests.fuzz.harness import fuzz, instrumented, words_of

with instrumented():
    from fleetaudit.analysis.waivers import apply_waivers, parse_waivers
    from fleetaudit.errors import InputError, NothingToDoError
    from fleetaudit.text.yaml_lines import decode_utf8
    from tests.support.runs import small_fleet

HOSTS = small_fleet().hosts
NAMES = tuple(host.name for host in HOSTS)
SEED = b"""
- finding: scenario:unread-close/ipv4
  hosts: [web1, "db*"]
  owner: ops
  reason: being replaced
  expiry: 2027-01-31
- {finding: "sysctl:*", hosts: all, owner: o, reason: r, expiry: 2020-02-29}
"""
WORDS = (
    *words_of(SEED.decode()),
    "kernel:", "exposure:", "control:", "host-key:", "0001-01-01", "9999-12-31", "2026-02-30", "**",
)  # fmt: skip


def _select(pattern: str) -> tuple[str, ...]:
    """Selects by the first letter, or nothing."""
    if pattern.startswith("-"):
        raise NothingToDoError("no host")
    return tuple(name for name in NAMES if name.startswith(pattern[:1]))


def TestOneInput(data: bytes) -> None:
    """Parses a file and applies it."""
    try:
        waivers = parse_waivers(decode_utf8(data, source="w.yml"), source="w.yml")
    except InputError as e:
        assert len(str(e)) < 4000
        return
    waived = apply_waivers(HOSTS, waivers, date(2026, 11, 22), _select)
    assert [host.name for host in waived.hosts] == list(NAMES)


def seeds() -> Iterable[bytes]:
    """Yields a file with every key."""
    yield SEED


if __name__ == "__main__":
    fuzz(TestOneInput)
