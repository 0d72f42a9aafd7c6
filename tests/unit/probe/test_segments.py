"""Windows as a reader finds them: the field as it was sent, and in bytes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from fleetaudit.analysis.compare import compare
from fleetaudit.model import (
    Audited,
    AuditRun,
    Connection,
    Evidence,
    Segment,
)
from fleetaudit.probe.segments import syn_scale, window_bytes, window_scale
from fleetaudit.report.explain import verdict_text
from fleetaudit.report.svg import draw_ladder
from tests.support.browser import page_of
from tests.support.runs import CONNECTION, run_of, small_fleet


def segment(flags: str, window: int | None, sender: Any = "closer") -> Segment:
    return Segment(at_us=0, sender=sender, flags=flags, seq=0, ack=0, length=0, window=window)


def connection(closer: int | None, peer: int | None) -> Connection:
    return replace(CONNECTION, scales=(closer, peer))


@pytest.mark.parametrize(
    ("flags", "sender", "of", "size"),
    [
        (".", "closer", connection(7, 3), 512 << 7),
        (".", "peer", connection(7, 3), 512 << 3),
        ("R.", "closer", connection(0, 0), 512),
        ("S", "peer", connection(7, 3), 512),  # RFC 7323, 2.2: never scaled
        ("S.", "closer", connection(7, 3), 512),
        (".", "closer", connection(7, None), 512),  # the option counts if both have it
        (".", "closer", connection(None, 7), 512),
        (".", "closer", connection(200, 7), 512 << 14),  # 2.3: at most 14
        (".", "closer", None, None),
    ],
)
def test_a_window_is_scaled_as_rfc_7323_says(
    flags: str, sender: Any, of: Connection | None, size: int | None
) -> None:
    assert window_bytes(segment(flags, 512, sender), of) == size
    assert window_bytes(segment(flags, None, sender), of) is None


def test_only_a_syn_has_the_option() -> None:
    assert syn_scale(segment("S.", 1), connection(7, 3)) == 7
    assert syn_scale(segment("S", 1, "peer"), connection(7, 3)) == 3
    assert syn_scale(segment("S", 1, "peer"), connection(7, None)) is None
    assert syn_scale(segment(".", 1), connection(7, 3)) is None
    assert window_scale(segment(".", 1), None) is None


SHUT = (
    replace(segment("S", 65495, "peer"), options="TS"),
    replace(segment("S.", 65483), options="TS"),
    segment(".", 512, "peer"),
    segment(".", 0),
)


def with_evidence(evidence: Evidence) -> tuple[AuditRun, Audited]:
    run = small_fleet()
    host = next(h for h in run.hosts if isinstance(h, Audited))
    host = replace(
        host, observations=tuple(replace(o, evidence=evidence) for o in host.observations)
    )
    return run_of([host]), host


def test_a_segment_of_an_earlier_version_can_be_read() -> None:
    old = msgspec.json.decode(b'[7,"peer","S",0,0,0,0,"TS"]', type=Segment)
    assert old == Segment(at_us=7, sender="peer", flags="S", seq=0, ack=0, length=0, options="TS")
    assert old.window is None


def explained(evidence: Evidence) -> list[str]:
    run, host = with_evidence(evidence)
    return [
        line
        for line in verdict_text(run, host, host.observations[0], width=100).splitlines()
        if "Flags" in line
    ]


def test_explain_prints_the_field_as_tcpdump_does_and_the_bytes_next_to_it() -> None:
    lines = explained(Evidence(wire=SHUT, connection=connection(7, 7)))
    assert lines[0].endswith("Flags [S], seq 0, win 65495, options [wscale 7, TS], length 0")
    assert lines[2].endswith("Flags [.], seq 0, ack 0, win 512 (65536 bytes), length 0")
    assert lines[3].endswith("Flags [.], seq 0, ack 0, win 0, length 0")


def test_explain_of_an_older_run_has_no_windows_and_of_a_cut_one_no_scale() -> None:
    old = tuple(replace(s, window=None) for s in SHUT)
    assert not any("win" in line for line in explained(Evidence(wire=old)))
    assert explained(Evidence(wire=SHUT))[2].endswith("win 512 (scale unknown), length 0")


def test_the_ladder_has_windows_in_bytes_and_the_table_both() -> None:
    trace = next(t for p in compare(small_fleet()).profiles for t in p.traces)
    details = [" · ".join(arrow.lines).strip() for arrow in draw_ladder(trace).arrows]
    assert details[0] == "seq 0 · win 65,495 · wscale 7"
    assert details[2] == "seq 1 · ack 1 · win 65,536"
    page = page_of(small_fleet())
    assert '<td class="num">512 <span class="quiet">= 65,536</span></td>' in page
    assert "wscale 7, <bdi>TS</bdi>" in page
