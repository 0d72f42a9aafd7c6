"""A playbook: YAML, plays, scenarios, expectations and conditions, up to the request of the probe.

A success is a playbook whose every scenario the probe can be asked for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz.harness import fuzz, instrumented, words_of

with instrumented():
    from fleetaudit.errors import InputError
    from fleetaudit.playbook import parse_playbook
    from fleetaudit.probe.request import scenario_call
    from fleetaudit.text.yaml_lines import decode_utf8

SEED = b"""
- name: one
  hosts: all
  trials: 2
  isolation: auto
  scenarios:
    - name: unread-close
      title: Close with unread data
      steps: [peer sends 5 bytes, closer closes]
      expect: RST
      control: drained-close
      severity: error
      families: [ipv4]
      because: RFC 2525
      tags: [a]
    - name: drained-close
      title: Close
      steps: [peer sends 5 bytes, closer reads all, closer closes]
      expect: FIN
  sysctls:
    collect: [net.ipv4.tcp_*]
    expect:
      net.ipv4.tcp_fin_timeout: {at_most: 30, because: x}
      net.ipv4.tcp_rmem: {matches: '4096 .*', when: kernel >= 5.10}
  exposure: {expect: {unread_sockets: {at_most: 3}}}
"""
WORDS = (
    *words_of(SEED.decode()),
    "at_least:", "equals:", "one_of:", "not:", "kernel < 6.1", "serial:", "import:", "from:",
    "FIN, then RST", "!!python/name:os.system", "&a", "*a", "<<:", "(a+)+", "[[:alpha:]]", "{1,9}",
)  # fmt: skip


def TestOneInput(data: bytes) -> None:
    """Parses a playbook, and asks for each of its scenarios."""
    try:
        playbook = parse_playbook(decode_utf8(data, source="p.yml"), source="p.yml")
    except InputError as e:
        assert len(str(e)) < 6000
        return
    for play in playbook.plays:
        for scenario in play.scenarios:
            assert scenario.steps
            call = scenario_call(scenario, 1)
            assert ast.literal_eval(repr(call)) == call


def seeds() -> Iterable[bytes]:
    """Yields a small playbook with every key, and those that are shipped."""
    yield SEED
    folder = Path(__file__).parents[2] / "playbooks"
    for path in sorted(folder.glob("*.yml")):
        if len(data := path.read_bytes()) < 8000:
            yield data


if __name__ == "__main__":
    fuzz(TestOneInput)
