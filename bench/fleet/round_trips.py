"""How many round trips one host takes, over a line with a delay (`link`).

Rules: everything counts, from the first SYN to the last byte of the reply. Of several rounds the
fewest count: a side that is late sends after more packets than it had to wait for.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

from .contestants import Contestant
from .lab import Lab, make_lab
from .link import FAR, TUN, running_link
from .rounds import run_one

ROUND_TRIP_S = 0.3
"""Long compared with what either side takes to answer."""


def missing() -> str:
    """Returns why there can be no link, "" if there can."""
    try:
        with Path(TUN).open("r+b", buffering=0):
            return ""
    except OSError as e:
        return f"{TUN}: {e.strerror}"


def count_round_trips(
    lab: Lab, chosen: list[Contestant], recordings: Mapping[int, Path], rounds: int
) -> dict[str, float]:
    """Returns the round trips of each contestant, by title."""
    folder = lab.folder / "far"
    folder.mkdir()
    far = dataclasses.replace(make_lab(folder, 1, 1), addresses=(FAR,))
    counts = dict[str, list[float]]()
    for number in range(rounds):
        for each in chosen:
            with running_link(far, dict(recordings), ROUND_TRIP_S / 2) as result:
                _, lost = run_one(far, each)
            if lost:
                sys.exit(f"{each.title} lost the host at the far end")
            count = float(result.read_text())
            counts.setdefault(each.title, []).append(count)
            print(f"round {number + 1}: {each.name:10} {count:6.1f}", file=sys.stderr)
    return {title: min(found) for title, found in counts.items()}
