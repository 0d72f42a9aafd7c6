"""The result as a table: medians over the rounds, and the ratio to OpenSSH in the same round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .measure import Cost

REFERENCE = "openssh"
Rounds = Sequence[Mapping[str, Cost]]


def summarize(rounds: Rounds, name: str, hosts: int) -> dict[str, Any]:
    """Returns the figures of one contestant: CPU in ms and context switches a host, wall in s, PSS
    in MiB, and the median of the rounds' ratios; None for the ratio if OpenSSH did not take part.
    """
    costs = [each[name] for each in rounds]

    def median(figure: Callable[[Cost], float]) -> float:
        return statistics.median(map(figure, costs))

    ratios = [each[name].cpu / each[REFERENCE].cpu for each in rounds if REFERENCE in each]
    return {
        "cpu_ms_a_host": round(median(lambda cost: cost.cpu) * 1000 / hosts, 2),
        "ratio": round(statistics.median(ratios), 3) if ratios else None,
        "wall_s": round(median(lambda cost: cost.wall), 2),
        "pss_mib": round(median(lambda cost: cost.pss) / 1024, 1),
        "switches_a_host": round(median(lambda cost: cost.switches) / hosts, 1),
    }


def render(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns a table in Markdown, cheapest first; `figures` is by title."""
    lines = [
        "| | CPU a host | of tuned OpenSSH | wall | peak PSS | switches a host | lost |",
        "|---|---|---|---|---|---|---|",
    ]
    for title, row in sorted(figures.items(), key=lambda item: item[1]["cpu_ms_a_host"]):
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        lines.append(
            f"| {title} | {row['cpu_ms_a_host']:.1f} ms | {ratio} | {row['wall_s']:.1f} s"
            f" | {row['pss_mib']:.0f} MiB | {row['switches_a_host']:.0f} | {row['lost']} |"
        )
    return "\n".join(lines)
