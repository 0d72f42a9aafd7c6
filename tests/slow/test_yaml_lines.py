"""Large and hostile YAML is read or refused in bounded time."""

from __future__ import annotations

import time

import pytest

from fleetaudit.text.yaml_lines import parse_yaml
from tests.unit.text.test_yaml_lines import refusal


@pytest.mark.parametrize("how", ["aliases", "merges"])
def test_an_alias_bomb_is_refused_before_it_goes_off(how: str) -> None:
    if how == "aliases":
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    else:
        keys = ", ".join(f"k{n}: 0" for n in range(5000))
        lines = [f"base: &b {{{keys}}}"] + [
            f"m{n}: {{<<: [{', '.join(['*b'] * 100)}]}}" for n in range(1000)
        ]
    begun = time.process_time()
    assert "once aliases" in refusal("\n".join(lines)).message
    assert time.process_time() - begun < 10


def test_fifty_thousand_hosts_are_read_in_a_few_seconds() -> None:
    def seconds(hosts: int) -> float:
        lines = ["all:", "  hosts:"]
        for n in range(hosts):
            lines += [
                f"    web{n:05}.example.com:",
                f"      ansible_host: 10.0.{n // 256}.{n % 256}",
                "      role: web",
            ]
        begun = time.process_time()
        document = parse_yaml("\n".join(lines), source="x")
        last = document.key_at(("all", "hosts", f"web{hosts - 1:05}.example.com"))
        assert last == (3 * hosts, 5)
        return time.process_time() - begun

    assert seconds(50_000) < 8
