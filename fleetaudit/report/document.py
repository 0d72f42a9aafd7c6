"""Makes self-contained HTML documents from templates: the report of a run, and every other page.

Rules:
- Nothing is decided here or in the templates, nothing is loaded from the network, and the clock
  comes in as an argument: the same data gives the same bytes.
- Every text is escaped. Text from a host or an inventory goes through `untrusted`: isolated from
  the text around it (<bdi>), with every invisible character escaped.
- The Content-Security-Policy names the one style sheet and the one script by their hashes. So there
  are no inline handlers and no style attributes, and a text that escaped all this would not run.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shlex
from collections.abc import Iterable
from functools import cache, lru_cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from fleetaudit.analysis.compare.columns import NOT_IN_PLAYBOOK
from fleetaudit.analysis.compare.host_links import cell_filters, ending_filters, host_query
from fleetaudit.analysis.compare.known_kernels import MOST_DIFFERENCES
from fleetaudit.analysis.compare.profiles import VERDICT_TEXTS
from fleetaudit.analysis.compare.view_model import NOT_SELECTED
from fleetaudit.text.host_ranges import HostRanges
from fleetaudit.text.sanitize import cut, escape_text

from .distribution import draw_distribution
from .references import link_references
from .svg import draw_ladder, is_logarithmic, log_share
from .template_cache import TemplateCache, cache_folder

STYLES = ("page.css", "links.css")
"""The files of the style sheet that every document has, in their order."""
TEXT_MAX = 16_384
"""Maximum number of characters of one text; a longer one is cut, with "…" at its end."""
_LONG_WORD = re.compile(r"\S{21}")
"""A word that does not fit in a narrow column."""
_SEPARATORS = re.compile(r"([-._,/:@=+]+)(?=[^-._,/:@=+\s])")
"""Where a long name may break: after these signs, not between two of them and not at its end. None
of them is in what HTML escapes, such as "&amp;".
"""
CONSTANTS = {
    # How many kernels, causes or findings the summary names before it links to the rest.
    "NAMED": 6,
    "MOST_REMEDIES": 20,
    # How many trace pairs are drawn.
    "DRAWN": 6,
    # How many profiles, and members of one profile, are shown in full; others have one line.
    "WHOLE": 300,
    "WHOLE_MEMBERS": 40,
    # Of more builds the table that lists each of them is folded.
    "HEAT_OPEN": 60,
    "MOST_DIFFERENCES": MOST_DIFFERENCES,
    "NOT_SELECTED": NOT_SELECTED,
    "NOT_IN_PLAYBOOK": NOT_IN_PLAYBOOK,
    "VERDICT_TEXTS": VERDICT_TEXTS,
}
"""What the templates read besides the comparison."""


def render_document(
    template: str,
    *,
    scripts: tuple[str, ...] = (),
    styles: tuple[str, ...] = (),
    **context: object,
) -> str:
    """Returns a document as HTML: `template` extends base.html and reads `context`.

    `scripts` and `styles` are files of the templates; the styles follow `STYLES`. Each script is in
    a function of its own.
    """
    style = Markup("").join(map(_source, (*STYLES, *styles)))
    script = Markup("").join(map(_source, scripts))
    return (
        _environment()
        .get_template(template)
        .render(
            policy=_content_security_policy(style, script), style=style, script=script, **context
        )
    )


def _content_security_policy(style: str, script: str) -> str:
    """Returns a policy that allows this style sheet and this script, and no request at all."""
    directives = (
        "default-src 'none'",
        f"style-src '{_hash(style)}'",
        f"script-src '{_hash(script)}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(directives)


@cache
def _environment() -> jinja2.Environment:
    """Returns the environment of the templates."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fleetaudit", "report/templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    if folder := cache_folder(os.environ):
        # Settings and filters of this file are part of the compiled code, where it is constant.
        settings = Path(__file__).read_text("utf-8")
        environment.bytecode_cache = TemplateCache(folder, settings)
    environment.globals |= CONSTANTS
    environment.filters |= {
        "untrusted": untrusted,
        "references": link_text,
        "hosts": join_hosts,
        "host_query": host_query,
        "cell_filters": cell_filters,
        "ending_filters": ending_filters,
        "number": format_number,
        "ms": format_milliseconds,
        "quoted": shlex.quote,
        "parts": breakable,
        "ladder": draw_ladder,
        "distribution": draw_distribution,
        "log_share": log_share,
        "is_log": is_logarithmic,
        "groupby_run": group_runs,
    }
    return environment


def _finalize(value: object) -> object:
    """Escapes the invisible characters of every text that a template prints."""
    return escape_invisible(value) if isinstance(value, str) else value


def _source(name: str) -> Markup:
    """Returns a file of the templates, unchanged."""
    environment = _environment()
    assert environment.loader is not None  # noqa: S101 - for mypy
    return Markup(environment.loader.get_source(environment, name)[0])  # noqa: S704 - our own file


def _hash(text: str) -> str:
    """Returns the hash of a text as the Content-Security-Policy needs it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def escape_invisible(text: str) -> str:
    """Returns `text` as `page_text` does; Markup stays as it is."""
    return text if isinstance(text, Markup) else page_text(text)


def page_text(text: str) -> str:
    """Returns `text` with invisible characters escaped, cut at `TEXT_MAX` characters."""
    return escape_text(cut(text, TEXT_MAX))


@lru_cache(maxsize=4096)
def untrusted(text: str) -> Markup:
    """Returns text from a host or an inventory, isolated from the text around it.

    Long words, such as names of hosts, may break as `breakable` names do.
    """
    shown = escape_invisible(text)
    if _LONG_WORD.search(shown):
        return breakable(shown)
    return Markup("<bdi>{}</bdi>").format(shown)


@lru_cache(maxsize=1024)
def link_text(text: str) -> Markup:
    """Returns text from a playbook as `untrusted` does, with links to the RFCs that it names."""
    return link_references(page_text(text))


def join_hosts(folded: HostRanges) -> Markup:
    """Returns folded hosts as isolated texts, and how many are not named."""
    names = Markup(", ").join(map(untrusted, folded.ranges))
    if not folded.more:
        return names
    return names + Markup(" and {} more").format(format_number(folded.more))


def format_number(value: float, digits: int = 0) -> str:
    """Returns a number for reading: 4,000,000, or 1.50 with two digits."""
    return f"{value:,.{digits}f}"


def format_milliseconds(microseconds: int) -> str:
    """Returns a moment of a trial in milliseconds."""
    return f"{microseconds / 1000:.3f}"


@lru_cache(maxsize=4096)  # the names of scenarios are in every profile
def breakable(name: str) -> Markup:
    """Returns a name that may break after each of its hyphens, dots and other separators."""
    escaped = escape(escape_invisible(name))
    broken = Markup(_SEPARATORS.sub(r"\1<wbr>", str(escaped)))  # noqa: S704 - escaped above
    return Markup("<bdi>{}</bdi>").format(broken)


def group_runs(items: Iterable[Any], attribute: str) -> list[tuple[Any, list[tuple[int, Any]]]]:
    """Returns numbered items in runs that share an attribute, in their order."""
    of = attrgetter(attribute)
    runs = groupby(enumerate(items), key=lambda pair: of(pair[1]))
    return [(value, list(run)) for value, run in runs]
