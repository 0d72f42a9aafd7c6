"""Lays a comparison out as one self-contained HTML page.

Rules:
- Nothing is decided here or in the templates, nothing is fetched, and the clock comes in as an
  argument: same run, same bytes.
- Every text is escaped, and what a host or an inventory said goes through `said`: isolated from the
  text around it (<bdi>), with every character that one cannot see made visible.
- The Content-Security-Policy names the one style sheet and the one script by their hashes; so there
  are no inline handlers and no style attributes, and a text that escaped all this would still not
  run.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Iterable
from functools import cache
from itertools import groupby
from typing import Any

import jinja2
from markupsafe import Markup, escape

from fleetaudit.analysis.compare import Comparison
from fleetaudit.analysis.compare.view_model import NOT_SELECTED
from fleetaudit.text.host_ranges import HostRanges
from fleetaudit.text.sanitize import escape_text

from .page_data import page_data
from .svg import (
    history,
    is_log,
    ladder,
    log_share,
)

NAMED = 6
MOST_REMEDIES = 20
"""How many kernels, causes or findings an answer names before it links to the rest."""
DRAWN = 6
"""How many scenarios are drawn as two kernels side by side."""
WHOLE, WHOLE_MEMBERS = 300, 40
"""How many behaviours, and kinds of hosts in one, are shown whole; of any more there is a line
each.
"""
SCRIPTS = ("page.js", "host.js", "explorer.js")
"""The page's script, in the order of its parts; each stands in a function of its own."""


def render(comparison: Comparison, *, generated: str = "") -> str:
    """Returns the page; `generated` is the moment to print on it, RFC 3339 (default: the run's end)."""
    environment = _environment()
    style = _source("page.css")
    script = Markup("").join(_source(name) for name in SCRIPTS)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return environment.get_template("page.html").render(
        c=comparison,
        runs=history(comparison.past),
        generated=generated or comparison.run.finished,
        policy=policy,
        style=style,
        script=script,
        data=Markup(page_data(comparison, escape_invisible)),  # noqa: S704 - JSON without <, > and &
        NAMED=NAMED,
        MOST_REMEDIES=MOST_REMEDIES,
        DRAWN=DRAWN,
        WHOLE=WHOLE,
        WHOLE_MEMBERS=WHOLE_MEMBERS,
        NOT_SELECTED=NOT_SELECTED,
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fleetaudit", "report/templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: escape_invisible(value) if isinstance(value, str) else value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "said": said,
        "hosts": hosts,
        "number": number,
        "ms": milliseconds,
        "quoted": shlex.quote,
        "parts": parts,
        "ladder": ladder,
        "log_share": log_share,
        "is_log": is_log,
        "groupby_run": runs_of,
    }
    return environment


def _source(name: str) -> Markup:
    environment = _environment()
    assert environment.loader is not None  # noqa: S101 - for mypy
    return Markup(environment.loader.get_source(environment, name)[0])  # noqa: S704 - a file of this package


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def escape_invisible(text: str) -> str:
    """Returns `text` with invisible characters escaped; Markup stays as it is."""
    return text if isinstance(text, Markup) else escape_text(text)


def said(text: str) -> Markup:
    """Returns what a host or an inventory said as isolated text."""
    return Markup("<bdi>{}</bdi>").format(escape_invisible(text))


def hosts(folded: HostRanges) -> Markup:
    """Returns folded hosts as isolated texts, and how many are not named."""
    named = Markup(", ").join(said(r) for r in folded.ranges)
    return named + (
        Markup(" and {} more").format(number(folded.more)) if folded.more else Markup("")
    )


def number(value: float, digits: int = 0) -> str:
    """Returns a number for reading: 4,000,000, or 1.50 with two digits."""
    return f"{value:,.{digits}f}"


def milliseconds(microseconds: int) -> str:
    """Returns a moment of a trial in milliseconds."""
    return f"{microseconds / 1000:.3f}"


def parts(name: str) -> Markup:
    """Returns a name that may break after each of its hyphens, dots and underscores."""
    broken = escape(escape_invisible(name))
    for mark in ("-", ".", "_"):
        broken = broken.replace(mark, Markup("{}<wbr>").format(mark))
    return Markup("<bdi>{}</bdi>").format(broken)


def runs_of(items: Iterable[Any], attribute: str) -> list[tuple[Any, list[tuple[int, Any]]]]:
    """Returns numbered items in runs that share an attribute, in their order."""
    return [
        (k, list(run))
        for k, run in groupby(enumerate(items), key=lambda pair: getattr(pair[1], attribute))
    ]
