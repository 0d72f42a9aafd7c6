"""The one table of outputs: the word of `--format`, the file, its media type and its renderer.

To add an output, write its module and add one line to `FORMATS`; command line, configuration,
writing and pruning read this table.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from fleetaudit.analysis.compare import Comparison
    from fleetaudit.model import AuditRun
    from fleetaudit.store.run_folder import RunFolder


class Format(NamedTuple):
    """One output of a run.

    `file` is its name in the folder of a run; one that ends in "/" is a folder with a file for each
    audited host. `function` of the module `fleetaudit.report.MODULE` renders its `source`: a run, a
    comparison (with `width` if the text is `wrapped`), or one host. It returns text, or yields
    bytes if the output is `streamed`, because it may be larger than the memory.
    """

    name: str
    file: str
    media_type: str
    module: str
    function: str = "render"
    source: Literal["run", "comparison", "host"] = "run"
    wrapped: bool = False
    streamed: bool = False

    def load(self) -> Callable[..., Any]:
        """Returns the renderer; its module is imported only now, because most runs need few."""
        function: Callable[..., Any] = getattr(
            import_module(f"fleetaudit.report.{self.module}"), self.function
        )
        return function


FORMATS = (
    Format("html", "report.html", "text/html", "html", source="comparison"),
    Format("json", "run.json", "application/json", "run_json", "render_in_chunks", streamed=True),
    Format("junit", "junit.xml", "application/xml", "junit", "render_in_chunks", streamed=True),
    Format("csv", "report.csv", "text/csv", "csv", "render_in_chunks", streamed=True),
    Format("sarif", "report.sarif", "application/sarif+json", "sarif"),
    Format("prometheus", "metrics.prom", "text/plain", "prometheus"),
    Format("text", "report.txt", "text/plain", "terminal", "summary", "comparison", wrapped=True),
    Format("pcap", "traces/", "application/x-pcapng", "pcap", "host_file", "host"),
)
"""Every output, in the order in which help texts list them."""

_BY_NAME = {format_.name: format_ for format_ in FORMATS}
NAMES = tuple(_BY_NAME)
"""The words that `--format` of `fleetaudit run` accepts."""
SINGLE_FILE_NAMES = tuple(f.name for f in FORMATS if f.source != "host")
"""The words that `--format` of `fleetaudit report` accepts."""
FILES = {f.name: f.file for f in FORMATS if f.source != "host" and f.name != "json"}
"""Format: its file in the folder of a run; run.json is written last, and by `run_output`."""
STREAMED = frozenset(f.name for f in FORMATS if f.streamed)
"""The formats that are never whole in memory."""


def render(
    run: AuditRun, format_: str, *, width: int = 100, comparison: Comparison | None = None
) -> bytes:
    """Returns the run in one of `SINGLE_FILE_NAMES`, in UTF-8; the same run gives the same bytes.

    Raises ValueError for any other format. The arguments are as in `render_in_chunks`.
    """
    return b"".join(render_in_chunks(run, format_, width=width, comparison=comparison))


def render_in_chunks(
    run: AuditRun, format_: str, *, width: int = 100, comparison: Comparison | None = None
) -> Iterator[bytes]:
    """Yields the bytes of the run in one of `SINGLE_FILE_NAMES`, in one chunk or in many.

    `width` is the number of columns to which a text is wrapped; no other format uses it.
    `comparison` is that of `run`, if the caller has it; without it, formats that need one make it.
    Characters that UTF-8 cannot encode (lone surrogates) become "?". Raises ValueError for any
    other format.
    """
    if format_ not in SINGLE_FILE_NAMES:
        raise ValueError(f"{format_!r} is not a format: use one of {', '.join(SINGLE_FILE_NAMES)}")
    format_of_name = _BY_NAME[format_]
    if format_of_name.streamed:
        yield from format_of_name.load()(run)
    else:
        yield _text(format_of_name, run, comparison, width).encode(errors="replace")


def _text(format_: Format, run: AuditRun, comparison: Comparison | None, width: int) -> str:
    """Returns the output as text."""
    renderer: Callable[..., str] = format_.load()
    if format_.source == "run":
        return renderer(run)
    if comparison is None:
        from fleetaudit.analysis.compare import compare

        comparison = compare(run)
    if format_.wrapped:
        return renderer(comparison, width=width)
    return renderer(comparison)


def render_all(run: AuditRun, formats: Collection[str], comparison: Comparison) -> None:
    """Renders everything that `write_all` writes, and keeps nothing.

    A renderer that fails does so here, before anything is written.
    """
    files = _host_files(run, formats)
    rendered = (
        render_in_chunks(run, name, comparison=comparison) for name in FILES.keys() & formats
    )
    deque(chain(files, chain.from_iterable(rendered)), maxlen=0)


def write_all(
    folder: RunFolder, run: AuditRun, formats: Collection[str], comparison: Comparison
) -> list[Path]:
    """Writes `formats` into the folder of the run.

    Returns the paths of the single files in the order of `formats`; the first is the one to open.
    """
    for name, content in _host_files(run, formats):
        folder.write(name, content)
    return [
        folder.write(FILES[name], render_in_chunks(run, name, comparison=comparison))
        for name in formats
        if name in FILES
    ]


def _host_files(run: AuditRun, formats: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of each file that formats with a file for each host ask for."""
    per_host = [f for f in FORMATS if f.source == "host" and f.name in formats]
    audited = run.audited
    for format_ in per_host:
        renderer = format_.load()
        for host in audited:
            name, content = renderer(host, run.scenarios)
            yield format_.file + name, content
