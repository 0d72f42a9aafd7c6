"""What a worker of --engine sends: `engine.workers.messages`.

A success is about the hosts that the worker was given, and is the same when it is sent again.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.harness import fuzz, instrumented

with instrumented():
    from fleetaudit.engine.workers.messages import (
        HostReport,
        NotAReportError,
        decode_reports,
        encode_reports,
        encode_version,
        own_version,
        why_version_differs,
    )
    from tests.unit.engine.test_workers import printed

WORDS = ("name", "found", "stages", b"\x81", b"\xa1", b"\xc0", b"\xdf\xff\xff\xff\xff", b"\xc6")


def TestOneInput(data: bytes) -> None:
    """Decodes reports and a version."""
    assert isinstance(why_version_differs(data), str)
    try:
        reports = decode_reports(data, ["a", "b"])
    except NotAReportError as e:
        assert len(str(e)) < 4000
        return
    assert reports.keys() <= {"a", "b"}
    assert decode_reports(encode_reports(reports.values()), ["a", "b"]) == reports


def seeds() -> Iterable[bytes]:
    """Yields reports about one host and two, and a version."""
    one = HostReport(name="a", found=printed(b"x"))
    yield encode_reports([one])
    yield encode_reports([one, HostReport(name="b", found=printed(b""))])
    yield encode_version(own_version())


if __name__ == "__main__":
    fuzz(TestOneInput)
