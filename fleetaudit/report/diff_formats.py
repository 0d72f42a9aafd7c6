"""The one table of outputs of a difference: the word of `--format`, and its renderer.

To add an output, write its module, a function that calls it, and one line in `DIFF_FORMATS`. A
module is imported by its function only, because a command needs one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fleetaudit.model import AuditRun, Drift


class Difference(NamedTuple):
    """Two runs and what changed between them.

    `command` is the line that makes the output again, `width` the number of columns of a text.
    """

    before: AuditRun
    after: AuditRun
    drift: Drift
    command: str
    width: int


class DiffFormat(NamedTuple):
    """One output: its renderer, and who reads it.

    `is_text`: people in a terminal. `shows_refusal`: it can say why two runs cannot be compared, so
    it is written for such runs, too.
    """

    name: str
    render: Callable[[Difference], bytes]
    is_text: bool = False
    shows_refusal: bool = False


def _text(difference: Difference) -> bytes:
    """Returns the changes as text, wrapped to the width."""
    from fleetaudit.analysis.compare import summarize_changes

    from .changes import changes_text

    changes = summarize_changes(difference.drift)
    return changes_text(changes, width=difference.width).encode(errors="replace")


def _json(difference: Difference) -> bytes:
    """Returns the drift as JSON."""
    from fleetaudit.analysis.drift import encode

    return encode(difference.drift)


def _html(difference: Difference) -> bytes:
    """Returns the page of the two runs."""
    from fleetaudit.analysis.run_diff import lay_out

    from .diff_page import render

    diff = lay_out(difference.before, difference.after, difference.drift)
    return render(diff, command=difference.command).encode(errors="replace")


DIFF_FORMATS = {
    format_.name: format_
    for format_ in (
        DiffFormat("text", _text, is_text=True),
        DiffFormat("json", _json),
        DiffFormat("html", _html, shows_refusal=True),
    )
}
"""Every output by its word, in the order in which help texts list them."""
