"""Makes the way from the kernel to the service that loses answers, with its numbers. Pure.

Rules: each step is true of this run only. A step that was not measured has the command to type.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence

from fleetaudit.analysis.production import WatchTable, describe_resets, on_hosts
from fleetaudit.analysis.services import ServiceTable
from fleetaudit.model import UNREAD_DATA, RunInfo
from fleetaudit.text.phrases import agree, and_more, count_noun, surround
from fleetaudit.text.sanitize import cut

from .resets import and_unknown_hosts
from .sentences import linked_name, linked_number, make_sentence
from .summary import (
    SummaryInput,
    describe_main_scenario,
    describe_most_aborts,
    main_columns,
)
from .view_model import (
    ReasonCure,
    ResetsView,
    Sentence,
    ServiceCard,
    ServicesView,
    Story,
    StoryStep,
    TextPart,
)

MOST_NAMED = 3
MOST_NAME = 60
MOST_TEXT = 240
SERVICES_FILE = "services.yml"
"""The playbook with the services to ask; the user writes it."""


def tell_story(
    source: SummaryInput,
    run: RunInfo,
    resets: tuple[WatchTable, ResetsView | None],
    services: tuple[ServiceTable, ServicesView | None],
) -> Story:
    """Returns the way from the kernel to the cure.

    `resets` and `services` are what was folded, and the view of it.
    """
    views = (resets[1], services[1])
    steps = (
        _kernels(source, run),
        _counters(source),
        _programs(*resets, run),
        _services(*services, run),
        *_cures(*views),
    )
    return Story(steps=steps, has_culprits=any(views))


def _kernels(source: SummaryInput, run: RunInfo) -> StoryStep:
    """Returns what the kernels do when a program closes with unread data."""
    title, columns = "Kernel", main_columns(source.columns)
    if not columns:
        return _not_measured(title, run, "run")
    sentence = describe_main_scenario(columns[0], len(source.builds))
    return StoryStep(title=title, link="kernels", sentence=sentence)


def _counters(source: SummaryInput) -> StoryStep:
    """Returns how often that happened since boot."""
    found = describe_most_aborts(source.production)
    unknown = make_sentence("No audited host reported its counters.")
    return StoryStep(title="Since boot", link="production", sentence=next(iter(found), unknown))


def _programs(table: WatchTable, view: ResetsView | None, run: RunInfo) -> StoryStep:
    """Returns which programs reset."""
    title = "Who resets"
    if view is None:
        return _not_measured(title, run, "watch")
    if table.hosts:
        return StoryStep(title=title, link="resets", sentence=_resetting(table))
    first = view.not_watched[0]
    problem = TextPart(text=cut(first.problem, MOST_TEXT), untrusted=True)
    return StoryStep(
        title=title,
        link="resets",
        sentence=make_sentence("No host could be watched: ", problem, "."),
        command=first.hint,
        is_typed=first.is_command,
    )


def _resetting(table: WatchTable) -> Sentence:
    """Returns the programs with most resets, those because of unread data first, and how many."""
    if not table.rows:
        return make_sentence(f"0 resets{on_hosts(table)}", *and_unknown_hosts(table), ".")
    unread = [row for row in table.rows if row.reason == UNREAD_DATA]
    programs = [*dict.fromkeys(str(row.program) for row in (*unread, *table.rows))]
    lost = sum(row.count for row in unread)
    return make_sentence(
        *_join(map(_program, programs[:MOST_NAMED])),
        f"{and_more(len(programs) - MOST_NAMED)} reset ",
        linked_number(describe_resets(table, "connection"), "resets"),
        f"{on_hosts(table)}, {lost:,} of them with unread data",
        *and_unknown_hosts(table),
        ".",
    )


def _program(name: str) -> TextPart:
    """Returns the name of a program as a link."""
    return linked_name(cut(name, MOST_NAME), "resets")


def _services(table: ServiceTable, view: ServicesView | None, run: RunInfo) -> StoryStep:
    """Returns which services lose answers."""
    title = "Services"
    if view is None:
        return _not_measured(title, run, "services", "-p", SERVICES_FILE)
    losing = sum(row.lost > 0 for row in table.rows)
    if not losing:
        return StoryStep(title=title, link="services", sentence=view.headline)
    sentence = make_sentence(
        *_join(map(_service, view.cards[: min(losing, MOST_NAMED)])),
        f"{and_more(losing - MOST_NAMED)} {agree(losing, 'loses', 'lose')} answers: ",
        linked_number(f"{table.lost:,} of {count_noun(table.tries, 'client')}", "services"),
        " got none.",
    )
    return StoryStep(title=title, link="services", sentence=sentence)


def _service(card: ServiceCard) -> TextPart:
    """Returns the name of a service, with its server, as a link to its card."""
    server = surround(" (", card.product or card.server, ")")
    return linked_name(cut(f"{card.name}{server}", MOST_NAME), card.anchor)


def _cures(resets: ResetsView | None, services: ServicesView | None) -> Iterator[StoryStep]:
    """Yields the cure of the first service that loses answers, else that of resets.

    Those because of unread data come first: they cost the peer its data.
    """
    cards = services.cards if services else ()
    reasons: Sequence[ReasonCure] = resets.cures if resets else ()
    found = [(card.anchor, card.name, card.cures[0].text) for card in cards if card.loses]
    reasons = sorted(reasons, key=lambda cure: cure.reason != UNREAD_DATA)
    found += [("resets-cures", cure.reason, cure.text) for cure in reasons]
    for link, name, text in found[:1]:
        cure = TextPart(text=cut(text, MOST_TEXT), untrusted=True)
        yield StoryStep(
            title="Cure",
            link=link,
            sentence=make_sentence(linked_name(cut(name, MOST_NAME), link), ": ", cure),
        )


def _not_measured(title: str, run: RunInfo, command: str, *options: str) -> StoryStep:
    """Returns a step that was not measured, with the command that measures it."""
    limit = ["--limit", run.limit] if run.limit else []
    return StoryStep(
        title=title,
        link="",
        sentence=make_sentence("Not measured in this run."),
        command=shlex.join(["fleetaudit", command, *run.inventory, *limit, *options]),
    )


def _join(parts: Iterable[TextPart]) -> list[TextPart]:
    """Returns the parts with a comma between each two of them."""
    joined = list[TextPart]()
    for part in parts:
        joined += [TextPart(text=", "), part]
    return joined[1:]
