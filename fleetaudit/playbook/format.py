"""The format of a playbook file: the types that decode it and that its JSON Schema is made from.

Rules: an unknown key is an error. What a type cannot express (contradictions, names that must
exist) is checked by the other modules of this package. The descriptions are for people who write a
playbook in an editor that reads the schema.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fleetaudit.model import Isolation
from fleetaudit.text.json_schema import json_schema_of

from .format_base import Because, ConditionFile, File, FindingSeverity, Fix, Tags, Text
from .service_format import ServiceFile

SCHEMA = Path(__file__).parents[1] / "schema" / "playbook.schema.json"

Expectable = Literal["FIN", "RST", "FIN, then RST", "nothing"]
IpFamily = Literal["ipv4", "ipv6"]
Trials = Annotated[
    int, Meta(ge=1, le=20, description="How often each scenario is repeated over each family.")
]
Bound = Annotated[float, Meta(ge=0)]
Value = Annotated[str, Meta(max_length=4000)]
Families = Annotated[
    list[IpFamily], Meta(min_length=1, max_length=2, description="Over which IP families it runs.")
]


class SysctlExpectationFile(File, frozen=True, kw_only=True):
    """What is expected of one sysctl; all tests that are set must hold."""

    equals: Annotated[
        int | Value | None, Meta(description="This value; several numbers separated by spaces.")
    ] = None
    one_of: Annotated[
        Annotated[list[int | Value], Meta(min_length=1)] | None,
        Meta(description="One of these values."),
    ] = None
    at_least: Annotated[int | None, Meta(description="A number that is not less.")] = None
    at_most: Annotated[int | None, Meta(description="A number that is not more.")] = None
    matches: Annotated[
        str | None,
        Meta(
            description=(
                "A regular expression (Python's) for the whole value; at most four repetitions and"
                " groups."
            )
        ),
    ] = None
    is_default: Annotated[
        bool | None, Meta(description="The value that this kernel gives a new network namespace.")
    ] = None
    present: Annotated[
        bool | None,
        Meta(
            description=(
                "Whether the kernel has such a sysctl. Without it, an absent one is a finding."
            )
        ),
    ] = None
    position: Annotated[
        Annotated[int, Meta(ge=1, le=16)] | None,
        Meta(
            description=(
                "Which of several numbers the tests are for, from 1: 3 is tcp_rmem's maximum."
            )
        ),
    ] = None
    severity: FindingSeverity = "warning"
    because: Because = ""
    fix: Fix = ""
    tags: Tags = []
    when: ConditionFile = ConditionFile()


class SysctlsFile(File, frozen=True, kw_only=True):
    """Which sysctls are read, and what is expected of some."""

    collect: Annotated[list[str], Meta(description="Names or globs, such as net.ipv4.tcp_*.")] = []
    expect: Annotated[
        dict[str, SysctlExpectationFile | list[SysctlExpectationFile]],
        Meta(description="An expectation, or a list of expectations, by sysctl."),
    ] = {}


class ExposureExpectationFile(File, frozen=True, kw_only=True):
    """What is expected of one number of production."""

    at_most: Annotated[Bound | None, Meta(description="Not more than this.")] = None
    at_least: Annotated[Bound | None, Meta(description="Not less than this.")] = None
    severity: FindingSeverity = "warning"
    because: Because = ""
    fix: Fix = ""
    tags: Tags = []
    when: ConditionFile = ConditionFile()


class ExposureExpectFile(File, frozen=True, kw_only=True):
    """What is expected of a host's own counters since boot, and of its sockets now."""

    aborts_on_close_per_thousand: Annotated[
        ExposureExpectationFile | None,
        Meta(
            description=(
                "Connections reset because of unread data (TCPAbortOnClose), per 1,000 opened or"
                " accepted."
            )
        ),
    ] = None
    aborts_failed: Annotated[
        ExposureExpectationFile | None,
        Meta(description="RSTs that could not be sent (TCPAbortFailed)."),
    ] = None
    aborts_on_memory: Annotated[
        ExposureExpectationFile | None,
        Meta(
            description=(
                "Orphaned connections reset because of memory or the limit of orphans"
                " (TCPAbortOnMemory)."
            )
        ),
    ] = None
    listen_overflows: Annotated[
        ExposureExpectationFile | None,
        Meta(description="Connections that a full accept queue dropped (ListenOverflows)."),
    ] = None
    unread_sockets: Annotated[
        ExposureExpectationFile | None,
        Meta(
            description="Sockets with unread data now: a restart of their process would reset them."
        ),
    ] = None
    unread_bytes: Annotated[
        ExposureExpectationFile | None, Meta(description="Bytes in those sockets now.")
    ] = None


class ExposureFile(File, frozen=True, kw_only=True):
    """What is expected of a host in production."""

    expect: ExposureExpectFile = ExposureExpectFile()


class WatchExpectFile(File, frozen=True, kw_only=True):
    """What is expected of the RSTs that programs of a host send while it is watched."""

    resets: Annotated[
        ExposureExpectationFile | None,
        Meta(description="RSTs of all programs, for every reason."),
    ] = None
    resets_per_minute: Annotated[
        ExposureExpectationFile | None, Meta(description="The same as a rate.")
    ] = None
    unread_data_resets: Annotated[
        ExposureExpectationFile | None,
        Meta(description="RSTs because a program closed a connection with unread data."),
    ] = None


class WatchFile(File, frozen=True, kw_only=True):
    """For how long the hosts are watched, what is reported, and what is expected."""

    for_: Annotated[
        float | str, Meta(description="60s, 5m, 1h, or a number of seconds; from 1s to 1h.")
    ] = msgspec.field(name="for", default=60)
    peers: Annotated[
        bool, Meta(description="Report the networks of the peers that were reset.")
    ] = False
    expect: WatchExpectFile = WatchExpectFile()


class KernelExpectationFile(File, frozen=True, kw_only=True):
    """An expectation that needs nothing beyond its name."""

    severity: FindingSeverity = "warning"
    because: Because = ""
    fix: Fix = ""
    tags: Tags = []
    when: ConditionFile = ConditionFile()


class KernelsExpectFile(File, frozen=True, kw_only=True):
    """What is expected of the fleet's kernels; it is judged when all hosts have answered."""

    same_ending_within_build: Annotated[
        bool | KernelExpectationFile | None,
        Meta(
            description=(
                "Hosts of one kernel build (release, version and machine) have the same endings."
            )
        ),
    ] = None


class KernelsFile(File, frozen=True, kw_only=True):
    """What is expected of the fleet's kernels."""

    expect: KernelsExpectFile = KernelsExpectFile()


class ScenarioFile(File, frozen=True, kw_only=True):
    """One experiment, step by step."""

    name: Annotated[
        str,
        Meta(
            pattern="^[a-z0-9]+(-[a-z0-9]+)*$",
            max_length=64,
            description=(
                "<what the receive queue holds>-<what the closer does>, such as unread-close."
            ),
        ),
    ]
    title: Annotated[str, Meta(min_length=1, max_length=200, description="One line for people.")]
    # 64: as many as the probe's reply can number.
    steps: Annotated[
        list[Text],
        Meta(
            min_length=1,
            max_length=64,
            description="What runs, word by word: see `fleetaudit scenarios`.",
        ),
    ]
    expect: Annotated[
        Expectable | Annotated[list[Expectable], Meta(min_length=1)] | UnsetType,
        Meta(
            description=(
                "The correct ending or endings. Without it the scenario is only observed, and no"
                " ending is a finding."
            )
        ),
    ] = UNSET
    severity: FindingSeverity = "warning"
    control: Annotated[
        str | None,
        Meta(
            description=(
                "A scenario that must end differently; “positive”: this is a positive control."
            )
        ),
    ] = None
    because: Because = ""
    fix: Fix = ""
    families: Families | None = None
    trials: Trials | None = None
    tags: Tags = []
    when: ConditionFile = ConditionFile()


class AdjustFile(File, frozen=True, kw_only=True):
    """Changes to a scenario that the play takes by name; the other keys stay."""

    expect: Annotated[
        Expectable | Annotated[list[Expectable], Meta(min_length=1)] | None,
        Meta(description="The correct ending or endings."),
    ] = None
    severity: FindingSeverity | None = None
    control: Annotated[
        str | None,
        Meta(
            description=(
                "A scenario of this play that must end differently, if RST is now expected."
            )
        ),
    ] = None
    because: Because | None = None
    fix: Fix | None = None
    trials: Trials | None = None
    tags: Tags | None = None
    when: ConditionFile | None = None


class PlayFile(File, frozen=True, kw_only=True):
    """Which hosts run which scenarios, and what is expected of them."""

    name: Annotated[str, Meta(min_length=1, max_length=200, description="One line for people.")]
    hosts: Annotated[Text | list[Text], Meta(description="A pattern, or several, as in Ansible.")]
    trials: Trials = 3
    families: Families = msgspec.field(default_factory=lambda: ["ipv4", "ipv6"])
    isolation: Annotated[
        Isolation,
        Meta(
            description=(
                "auto: a private network namespace if possible; namespace: only a private one;"
                " host: the host's own namespace, with its firewall."
            )
        ),
    ] = "auto"
    scenarios: Annotated[
        list[str | ScenarioFile],
        Meta(description="Scenarios, or shipped ones by name: unread-close/urgent-*."),
    ] = []
    adjust: Annotated[
        dict[str, AdjustFile],
        Meta(description="By a scenario's name: what this play changes of it."),
    ] = {}
    sysctls: SysctlsFile = SysctlsFile()
    exposure: ExposureFile = ExposureFile()
    kernels: KernelsFile = KernelsFile()
    watch: Annotated[
        float | str | WatchFile | None,
        Meta(
            description=(
                "Watch for this long which programs reset connections: 60s, 5m, 1h, a number of"
                " seconds, or a mapping. It needs root on the host."
            )
        ),
    ] = None
    services: Annotated[
        list[ServiceFile],
        Meta(
            max_length=64,
            description="Listeners of the hosts that only `fleetaudit services` asks.",
        ),
    ] = []
    tags: Annotated[Tags, Meta(description="Tags of everything in this play.")] = []


def json_schema() -> str:
    """Returns the JSON Schema of a playbook, the text of
    `fleetaudit/schema/playbook.schema.json`.
    """
    return json_schema_of(list[PlayFile], "A fleetaudit playbook").decode()


def write_schema(path: Path = SCHEMA) -> None:
    """Writes the JSON Schema to the file that is published."""
    path.write_text(json_schema(), encoding="utf-8")
