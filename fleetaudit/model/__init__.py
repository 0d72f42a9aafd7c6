"""The nouns: what is planned, what was seen, what became of each host. Frozen, and the same on disk
as in memory.

Rules: no I/O and no decisions here. A field that a host can fill is bounded, a text in its length
and a number in its range, because a host may be hostile: what was decoded can be calculated with,
stored and shown. `run.json` is `AuditRun` as it stands (format "fleetaudit-run/1", schema in
`fleetaudit/schema/`); other programs read its keys, so renaming one is a breaking change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from . import core_dumps

RUN_FORMAT: Literal["fleetaudit-run/1"] = "fleetaudit-run/1"

Ending = Literal[
    "FIN", "RST", "FIN, then RST", "nothing", "sent, not delivered", "inconclusive", "not run"
]
"""What close() put on the wire. Over AF_UNIX, which has no segments: RST is ECONNRESET at the peer,
FIN end of file.
"""

EXPECTABLE_ENDINGS: tuple[Ending, ...] = ("FIN", "RST", "FIN, then RST", "nothing")
"""The endings that a playbook may expect; the others say that nothing could be told."""

Stage = Literal[
    "inventory",
    "resolve",
    "connect",
    "host key",
    "authenticate",
    "become",
    "execute",
    "decode",
    "report",
    "interrupted",
]
Family = Literal["ipv4", "ipv6", "unix"]
Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
Isolation = Literal["auto", "namespace", "host"]
HostKeyPolicy = Literal["strict", "accept-new", "off"]
SshClient = Literal["paramiko", "openssh"]
BecomeMethod = Literal["sudo", "doas", "su"]

ShortText = Annotated[str, Meta(max_length=256)]
LongText = Annotated[str, Meta(max_length=4096)]
Microseconds = Annotated[int, Meta(ge=-(10**12), le=10**12)]
"""Microseconds; negative where a clock was set back."""
UInt32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
"""A field of a segment, or what one trial can count."""
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
"""A counter since boot."""
Seconds = Annotated[float, Meta(ge=0, le=3.2e9)]
"""A time that passed, in seconds; at most a hundred years."""
TcpState = Annotated[int, Meta(ge=0, le=13)]
"""tcpi_state (include/net/tcp_states.h)."""


DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding bytes raises that are not what their type says; msgspec's own error is not all of
it.
"""


class Frozen(msgspec.Struct, frozen=True):
    """The base of every noun: immutable, fields by name, unknown keys of a newer format ignored."""


class Secret:
    """A password. Logs, tracebacks and JSON never contain it; only `reveal` returns it.

    A process that creates one writes no core file from then on.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        core_dumps.disable()
        self._text = text

    def reveal(self) -> str:
        """Returns the password, for the one who asks for it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(Secret)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not stored")


# ---- where a host is and how it is reached
# -------------------------------------------------------------------------


class Become(Frozen, frozen=True, kw_only=True):
    """The user that the probe runs as, if not the login user. `program` is "" for the method's own
    name; `flags` are only for su; `password` is None if none is given.
    """

    method: BecomeMethod = "sudo"
    user: str = "root"
    program: str = ""
    flags: tuple[str, ...] = ()
    password: Secret | None = None


class Interpreter(Frozen, frozen=True, kw_only=True):
    """The Python that Ansible would use on a host, tried before any other: `value` is its path, or
    words for a shell.

    `name` and `origin` are the variable or setting, and its file:line, "" if it is not set.
    `problem` says why a value cannot be used; then `value` is "".
    """

    value: str = ""
    name: str = "ansible_python_interpreter"
    origin: str = ""
    problem: str = ""


class SshConfig(Frozen, frozen=True, kw_only=True):
    """What ssh_config(5) says about one host beyond the fields of an `SshTarget`; empty is
    "nothing".

    `name` is what the host is called there and `words` are the options that were asked with. Paths
    and commands are expanded; lists of algorithms are whole, None where they are the client's own.
    """

    name: str = ""
    words: tuple[str, ...] = ()
    host_key_alias: str = ""
    revoked_host_keys: tuple[str, ...] = ()
    proxy_command: Secret | None = None
    identities_only: bool = False
    certificates: tuple[str, ...] = ()
    agent: str = ""
    public_keys: bool = True
    password_methods: tuple[str, ...] = ("keyboard-interactive", "password")
    family: Literal["any", "inet", "inet6"] = "any"
    bind_address: str = ""
    alive_interval_s: int = 0
    alive_count: int = 3
    ciphers: tuple[str, ...] | None = None
    key_exchanges: tuple[str, ...] | None = None
    host_key_algorithms: tuple[str, ...] | None = None
    macs: tuple[str, ...] | None = None


class SshTarget(Frozen, frozen=True, kw_only=True, tag_field="connection", tag="ssh"):
    """A host reached by SSH. `known_hosts` and `private_keys` are paths, most preferred first;
    empty means the user's own. `password` is for logging in.

    `program` is the system's ssh, `arguments` and `late_arguments` are words for it, before and
    after what the other fields say; `port_is_explicit` tells whether somebody named the port (where
    nobody did, ssh_config may say another). `ssh_config` is what that says, None where it was not
    asked or has nothing to say.
    """

    address: str
    port: int = 22
    user: str | None = None
    private_keys: tuple[str, ...] = ()
    known_hosts: tuple[str, ...] = ()
    host_key_policy: HostKeyPolicy = "strict"
    connect_timeout_s: float = 10.0
    use_agent: bool = True
    client: SshClient = "paramiko"
    program: str = "ssh"
    arguments: tuple[str, ...] = ()
    late_arguments: tuple[str, ...] = ()
    port_is_explicit: bool = False
    ssh_config: SshConfig | None = None
    password: Secret | None = None
    become: Become | None = None
    interpreter: Interpreter | None = None


class LocalTarget(Frozen, frozen=True, kw_only=True, tag_field="connection", tag="local"):
    """This machine, without SSH."""

    become: Become | None = None
    interpreter: Interpreter | None = None


class KernelTarget(Frozen, frozen=True, kw_only=True, tag_field="connection", tag="kernel"):
    """A kernel image, booted for the occasion; `sysctls` are set in the guest before the probe
    runs.
    """

    image: str
    memory_mib: int = 256
    append: str = ""
    sysctls: dict[str, str] = {}


Target = SshTarget | LocalTarget | KernelTarget


class Host(Frozen, frozen=True, kw_only=True):
    """One host of an inventory. `groups` are all groups it is in, nearest last, without `all`;
    `origin` is file:line.

    `variables` are merged by Ansible's precedence and are not rendered yet; `variable_origins`
    tells where each was written. Hosts share these mappings.
    """

    name: str
    groups: tuple[str, ...] = ()
    variables: Mapping[str, Any] = {}
    variable_origins: Mapping[str, str] = {}
    origin: str = ""


class Group(Frozen, frozen=True, kw_only=True):
    """What was written directly into a group: its own hosts and the groups in it."""

    hosts: tuple[str, ...] = ()
    children: tuple[str, ...] = ()


class Inventory(Frozen, frozen=True, kw_only=True):
    """Hosts in the order of the file; `groups` maps every group (also `all`, `ungrouped`) to its
    hosts' names.

    `tree` holds the same groups as they are nested. `notes` are sentences for people: what Ansible
    would read and was not read here.
    """

    sources: tuple[str, ...]
    hosts: tuple[Host, ...]
    groups: dict[str, tuple[str, ...]]
    tree: dict[str, Group] = {}
    notes: tuple[str, ...] = ()


# ---- what is to be done
# --------------------------------------------------------------------------------------------


class Step(Frozen, frozen=True, kw_only=True):
    """One step: the words as the playbook has them, and the tuple (actor, verb, arguments…) that
    the probe is sent.
    """

    text: str
    call: tuple[str | int, ...]


class Condition(Frozen, frozen=True, kw_only=True):
    """Where an expectation applies; it guards judging, never running.

    `groups`: on hosts of any of them, none named is everywhere. `kernel`: comparisons of the kernel
    release, such as ">=6.1, <6.12"; "" is every kernel.
    """

    groups: tuple[str, ...] = ()
    kernel: str = ""


class Scenario(Frozen, frozen=True, kw_only=True):
    """One experiment. `expect` is a tuple of the endings that are all right, empty if the scenario
    is only observed: no ending is a finding then. `control` names the twin that must differ.

    `trials` overrides the play's number. `because` is the reason with its source, `fix` what to do
    where it ends otherwise. `families` says where it makes sense; it follows from the steps and the
    play, and nobody declares it twice.
    """

    name: str
    title: str
    steps: tuple[Step, ...]
    expect: tuple[Ending, ...]
    severity: Severity = "warning"
    control: str | None = None
    because: str = ""
    families: tuple[Family, ...] = ("ipv4", "ipv6")
    trials: int | None = None
    fix: str = ""
    tags: tuple[str, ...] = ()
    when: Condition = Condition()

    @property
    def is_positive_control(self) -> bool:
        """Whether this is a positive control: the one kind that expects a RST and names no control."""
        return self.control is None and self.expect == ("RST",)


class Expectation(Frozen, frozen=True, kw_only=True):
    """What every expectation carries: its weight, its reason, what to do, when it applies, by which
    tags it is named.

    By itself it is what is wanted of a fleet's kernels, where the name of the expectation says it
    all.
    """

    severity: Severity = "warning"
    because: str = ""
    fix: str = ""
    tags: tuple[str, ...] = ()
    when: Condition = Condition()


class SysctlExpectation(Expectation, frozen=True, kw_only=True):
    """What a playbook wants of one sysctl; exactly the given tests apply.

    `position`, from 1, takes one of several numbers, as in tcp_rmem. `matches` is a regular
    expression for the whole. `is_default`: as this kernel has it in a new namespace. `present` is
    about there being such a sysctl at all.
    """

    equals: str | None = None
    one_of: tuple[str, ...] | None = None
    at_least: int | None = None
    at_most: int | None = None
    matches: str | None = None
    is_default: bool = False
    present: bool | None = None
    position: int | None = None


class ExposureExpectation(Expectation, frozen=True, kw_only=True):
    """What a playbook wants of a number that production shows; exactly the given tests apply."""

    at_least: float | None = None
    at_most: float | None = None


class Play(Frozen, frozen=True, kw_only=True):
    """One play of a playbook: which hosts (a pattern) run which scenarios, and which sysctls are
    read and wanted.

    Every sysctl, number of production or property of the kernels may have several rules, and all of
    them count. `tags` belong to all that is in the play.
    """

    name: str
    hosts: str
    trials: int = 3
    families: tuple[Family, ...] = ("ipv4", "ipv6")
    isolation: Isolation = "auto"
    scenarios: tuple[Scenario, ...] = ()
    sysctls_collect: tuple[str, ...] = ()
    sysctls_expect: dict[str, tuple[SysctlExpectation, ...]] = {}
    exposure_expect: dict[str, tuple[ExposureExpectation, ...]] = {}
    kernels_expect: dict[str, tuple[Expectation, ...]] = {}
    tags: tuple[str, ...] = ()


class Playbook(Frozen, frozen=True, kw_only=True):
    """A playbook file. `lines` has the line of each expectation, by the id of its findings without
    a family ("scenario:NAME", "sysctl:KEY", "exposure:NAME", "kernel:"); the first of several
    lines.
    """

    source: str
    plays: tuple[Play, ...]
    lines: dict[str, int] = {}


class Location(Frozen, frozen=True, kw_only=True):
    """A line of a file: the path with "/" between its folders, and the line from 1.

    The path is relative to the repository of the current folder, or else to that folder; a file
    outside has its absolute path.
    """

    file: LongText
    line: Annotated[int, Meta(ge=1, le=0x7FFFFFFF)] = 1


class NotAudited(Frozen, frozen=True, kw_only=True, tag_field="status", tag="not audited"):
    """A host that could not be audited: at which stage, why, and the next command to type.

    `kind` is the reason without its addresses, ports and fingerprints (`errors.FailureKind`); `at`
    names what failed if that was not the host itself, such as "jump host gate"; both are "" in runs
    of older releases. It has at most one finding: that its host key has changed.
    """

    name: str
    groups: tuple[str, ...] = ()
    stage: Stage
    kind: ShortText = ""
    at: ShortText = ""
    reason: str
    hint: str = ""
    # Present on every host of run.json, so that a script may ask any host for any key.
    kernel: None = None
    os: None = None
    python: None = None
    isolation: None = None
    observations: tuple[()] = ()
    sysctls: dict[str, Any] = {}
    exposure: None = None
    findings: tuple[Finding, ...] = ()
    location: Location | None = None


class NotSelected(Frozen, frozen=True, kw_only=True, tag_field="status", tag="not selected"):
    """A host that --limit selects and that no play matches: nothing runs there, and nothing has
    failed.
    """

    name: str
    groups: tuple[str, ...] = ()
    # As in `NotAudited`: every key that a script may ask for.
    stage: None = None
    kind: Literal[""] = ""
    at: Literal[""] = ""
    reason: str = "not selected by any play"
    hint: str = ""
    kernel: None = None
    os: None = None
    python: None = None
    isolation: None = None
    observations: tuple[()] = ()
    sysctls: dict[str, Any] = {}
    exposure: None = None
    findings: tuple[()] = ()
    location: Location | None = None


NoTarget = NotAudited | NotSelected
"""A result that is known before any connection."""


class HostPlan(Frozen, frozen=True, kw_only=True):
    """What one host is asked.

    `target` is `NotAudited` if the inventory already shows that the host cannot be reached, and
    `NotSelected` if no play matches it. `origin` is file:line of the inventory. Where `trials` is 0
    nothing is run, and the probe says of each scenario only whether it could be.
    """

    name: str
    groups: tuple[str, ...]
    target: SshTarget | LocalTarget | KernelTarget | NotAudited | NotSelected
    scenarios: tuple[Scenario, ...]
    trials: int
    isolation: Isolation
    sysctls_collect: tuple[str, ...]
    sysctls_expect: dict[str, tuple[SysctlExpectation, ...]]
    exposure_expect: dict[str, tuple[ExposureExpectation, ...]] = {}
    kernels_expect: dict[str, tuple[Expectation, ...]] = {}
    origin: str = ""


class Plan(Frozen, frozen=True, kw_only=True):
    """Every selected host exactly once, in inventory order. `lines` has the playbook and the line
    of each expectation, by id as in `Playbook`.
    """

    playbooks: tuple[str, ...]
    hosts: tuple[HostPlan, ...]
    lines: dict[str, tuple[str, int]] = {}


# ---- what was seen
# -------------------------------------------------------------------------------------------------


class Segment(Frozen, frozen=True, kw_only=True, array_like=True):
    """One captured segment; in JSON an array in this order, since a run has a great many.

    `at_us` counts in microseconds from when the trial began; `seq` and `ack` are relative to the
    initial sequence numbers, as tcpdump prints them; `flags` too ("S", "S.", "P.", "P.U", "R.");
    `length` is the payload's, in bytes; `urgent` is the pointer, 0 without URG; `options` are those
    that matter ("TS", "MP_FASTCLOSE"); `window` is the field as it was sent, null in a run of an
    earlier version (`Connection.scales` says what to multiply it by).
    """

    at_us: Microseconds
    sender: Literal["closer", "peer"]
    flags: Annotated[str, Meta(max_length=12)]
    seq: UInt32
    ack: UInt32
    length: Annotated[int, Meta(ge=0, le=1 << 20)]
    urgent: Annotated[int, Meta(ge=0, le=0xFFFF)] = 0
    options: ShortText = ""
    window: Annotated[int, Meta(ge=0, le=0xFFFF)] | None = None


PortNumber = Annotated[int, Meta(ge=0, le=0xFFFF)]
WindowScale = Annotated[int, Meta(ge=0, le=0xFF)]


class Connection(Frozen, frozen=True, kw_only=True):
    """What the segments of a trial have in common.

    `began` is when the trial began, in seconds since 1970 by the host's clock. `ports` are the
    closer's and the peer's. `scales` are the window scale options of the closer's and of the peer's
    SYN, null where it has none: windows are scaled if both have one, and never that of a SYN (RFC
    7323, section 2.2). `mapped`: the sockets are of IPv6, and the packets of IPv4. `headers` are
    the IP and TCP headers of the segments as they were captured, one after the other, compressed by
    zlib, in base64; "" unless the trial deviates from what is expected or differs from another
    trial, and where the host's Python has no zlib.
    """

    began: Seconds
    ports: tuple[PortNumber, PortNumber]
    scales: tuple[WindowScale | None, WindowScale | None] = (None, None)
    mapped: bool = False
    headers: Annotated[str, Meta(max_length=32768)] = ""


NamedCounts = Annotated[dict[ShortText, UInt32], Meta(max_length=64)]
"""Numbers of one trial by name."""
StepIndex = Annotated[int, Meta(ge=0, le=63)]
"""Counts the steps of a scenario from 0."""
StepTimes = Annotated[tuple[tuple[Microseconds, StepIndex], ...], Meta(max_length=64)]
"""[microseconds, index of the step]: when each step of a trial began."""


PollEvents = Annotated[tuple[ShortText, ...], Meta(max_length=16)]
"""Names of poll(2)'s events, without POLL."""


class PeerWitness(Frozen, frozen=True, kw_only=True):
    """What the peer's socket said after the close, asked in the order that consumes nothing first.

    `state` is tcpi_state (1 ESTABLISHED, 7 CLOSE, 8 CLOSE_WAIT; null over AF_UNIX). `poll` are
    event names ("IN", "OUT", "ERR", "HUP", "RDHUP", "PRI"). `recv` is what recv gave in turn,
    errors that the steps themselves met first: a number of bytes, "0" for end of file, an errno's
    name ("ECONNRESET", "EAGAIN"), or what a send of the steps met ("send: ECONNRESET"). `so_error`
    is SO_ERROR, read last ("0", "EPIPE"…). `poll_added`, over AF_UNIX only: for each ending step of
    the closer its index, and the event names that it added to those of the peer.
    """

    state: TcpState | None = None
    poll: PollEvents = ()
    recv: Annotated[tuple[ShortText, ...], Meta(max_length=16)] = ()
    so_error: ShortText = ""
    poll_added: Annotated[tuple[tuple[StepIndex, PollEvents], ...], Meta(max_length=64)] = ()


class Evidence(Frozen, frozen=True, kw_only=True):
    """Why an ending is believed: three witnesses, each null where it could not speak (`wire_note`
    says why).

    `kernel` holds the counters that moved, by name. `steps` are [microseconds, index of the step]
    at which each step began. `queue` is what the closer's receive queue held just before the close,
    and in a scenario that sends until blocked how many bytes of the receiver's window were left
    then ("closer window", "peer window"). `bytes` counts what each side handed to send() and got
    from recv(). `wire_omitted` segments were cut out of the middle of a long trace. `same_as` names
    the host whose evidence this is, where this host's was the same in all but time; run.json then
    has the name alone. `connection` is null where no SYN was captured, and in runs of earlier
    versions.
    """

    wire: tuple[Segment, ...] | None = None
    connection: Connection | None = None
    wire_note: LongText = ""
    wire_omitted: UInt32 = 0
    peer: PeerWitness | None = None
    kernel: NamedCounts | None = None
    steps: StepTimes = ()
    queue: NamedCounts = {}
    bytes: NamedCounts = {}
    same_as: str = ""


class Observation(Frozen, frozen=True, kw_only=True):
    """One scenario over one family on one host.

    `ending` is the verdict on all trials together; `endings` counts what each trial saw and is
    never rewritten. `reason` is empty where ending and endings agree; it says why a verdict is
    inconclusive, void or not run. `evidence` is that of the first trial that has the ending (the
    first that differs, where trials disagree).
    """

    scenario: str
    family: Family
    ending: Ending
    trials: UInt32
    endings: dict[str, UInt32] = {}
    evidence: Evidence = Evidence()
    reason: str = ""


class Kernel(Frozen, frozen=True, kw_only=True):
    """uname -r, -v, -m."""

    release: ShortText
    version: ShortText
    machine: ShortText


class Os(Frozen, frozen=True, kw_only=True):
    """From os-release(5); empty strings where the host has none."""

    id: ShortText = ""
    version_id: ShortText = ""
    pretty_name: ShortText = ""


class Sysctl(Frozen, frozen=True, kw_only=True):
    """One sysctl: `value` as read on the host; `default` this kernel's own where a new namespace
    told it.

    `state` tells apart what an empty value cannot: "" it was read, "absent", or "unreadable:
    ERRNO". `used` is what the experiment ran under, where that differs from `value`.
    """

    value: LongText | None = None
    default: LongText | None = None
    state: ShortText = ""
    used: LongText | None = None


SysctlLine = Annotated[
    str,
    Meta(
        pattern=r"^(/etc/sysctl\.conf|/(etc|run|usr/local/lib|usr/lib|lib)/sysctl\.d/[A-Za-z0-9_.@+-]{1,200}\.conf)"
        r":[0-9]{1,6}$(?!\n)"
    ),
]
"""A line of a file that sets sysctls at boot: the path, a colon, the line from 1. No other file is
allowed, because a host sends it and it becomes part of a command.
"""
SysctlLines = Annotated[tuple[SysctlLine, ...], Meta(min_length=1, max_length=2)]


class UnreadSockets(Frozen, frozen=True, kw_only=True):
    """Sockets with a non-empty receive queue now; counts only, never addresses. `partial`: the scan
    hit its bound.
    """

    sockets: Count
    bytes: Count
    scanned: Count
    partial: bool = False


class Exposure(Frozen, frozen=True, kw_only=True):
    """What production already felt: the host's own counters since boot, by name;
    `unread_sockets` is null where it could not be read."""

    uptime_s: Seconds | None = None
    counters: Annotated[dict[ShortText, Count], Meta(max_length=64)] = {}
    unread_sockets: UnreadSockets | None = None


class Finding(Frozen, frozen=True, kw_only=True):
    """Where an observation and an expectation differ. `id` is stable: "scenario:NAME/FAMILY",
    "sysctl:KEY", ….

    `waived` is "OWNER until DATE: REASON" of the waiver that accepts it. `since` is the date (RFC
    3339 full-date) of the run that saw it first, as far as the runs before know; "" where nobody
    asked them.
    """

    id: str
    severity: Severity
    expected: str
    observed: str
    because: str = ""
    fix: str = ""
    waived: str | None = None
    since: str = ""


class Audited(Frozen, frozen=True, kw_only=True, tag_field="status", tag="audited"):
    """A host whose probe answered. `notes` are sentences that qualify every verdict of this host
    (no namespace, a control without a verdict, settings that could not be copied); `void` says why
    its verdicts prove nothing. `expectations` are the ids of the playbook's expectations of this
    host other than scenarios, met or not. `location` is where the inventory names it first.

    `sysctl_places` has the line that sets a sysctl at boot, by key, for sysctls that a file sets;
    two lines if `sysctl --system` and systemd-sysctl obey different ones; null if the files could
    not be read. `sysctls_writable` is false if /proc/sys is mounted read-only, as in most
    containers.
    """

    name: str
    groups: tuple[str, ...] = ()
    stage: None = None
    kind: Literal[""] = ""
    at: Literal[""] = ""
    reason: str = ""
    hint: str = ""
    kernel: Kernel
    os: Os = Os()
    python: ShortText = ""
    interpreter: ShortText = ""
    machine_id: ShortText = ""
    isolation: Literal["namespace", "host"]
    notes: tuple[LongText, ...] = ()
    void: LongText = ""
    observations: tuple[Observation, ...] = ()
    sysctls: dict[ShortText, Sysctl] = {}
    sysctl_places: dict[ShortText, SysctlLines] | None = None
    sysctls_writable: bool = True
    exposure: Exposure | None = None
    expectations: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    elapsed_s: Seconds = 0.0
    location: Location | None = None


NO_CAPTURE = "no packets are captured"
"""How the note of a host begins that says so, and why."""

HostResult = Audited | NotAudited | NotSelected


class ScenarioRow(Frozen, frozen=True, kw_only=True):
    """A scenario as run.json carries it: what the report prints is what ran. `expect` is empty if
    no ending is expected. `control` null: it names none.
    """

    name: str
    title: str
    steps: tuple[str, ...]
    expect: tuple[Ending, ...]
    severity: Severity
    control: str | None
    because: str


def step_text(steps: Sequence[str], index: int) -> str:
    """Returns the text of the step `index`, counted from 0; "step 3" if the scenario has no third."""
    return steps[index] if 0 <= index < len(steps) else f"step {index + 1}"


MAX_SEQUENCE = 2**53
"""The greatest integer that every JSON reader reads exactly."""


class RunInfo(Frozen, frozen=True, kw_only=True):
    """About the run itself. Times are UTC, RFC 3339, whole seconds; `fleetaudit` and `controller`
    are versions.

    `baseline` is the id of the run that this one was compared with. `notes` are sentences about the
    run as a whole, such as a waiver that has expired. `job` names the combination of inventory,
    playbooks, limit, shard and tags, "" in a run of an earlier version (`jobs.job_of` returns it
    for that one, too). `sequence` numbers the runs of an output folder in the order in which they
    finished, from 1; it is 0 in a run that was interrupted and in one of an earlier version.
    `scheduled`: this run, or an earlier one of its job, was begun with --cron. `status` is the exit
    status of the command, null in a run of an earlier version.
    """

    id: str
    started: str
    finished: str
    fleetaudit: str
    playbooks: tuple[str, ...]
    controller: str
    baseline: str | None = None
    inventory: tuple[str, ...] = ()
    limit: str | None = None
    shard: str | None = None
    tags: tuple[str, ...] = ()
    skip_tags: tuple[str, ...] = ()
    job: str = ""
    sequence: Annotated[int, Meta(ge=0, le=MAX_SEQUENCE)] = 0
    scheduled: bool = False
    status: Annotated[int, Meta(ge=0, le=255)] | None = None
    notes: tuple[str, ...] = ()


# ---- what changed
# --------------------------------------------------------------------------------------------------

Effect = Literal[
    "regression",
    "fix",
    "no longer told",
    "told again",
    "changed",
    "newly not audited",
    "audited again",
    "no longer selected",
    "newly selected",
    "rebuilt",
    "renamed",
    "gone",
    "new host",
]
"""What a change means. Regression: met before, not met now; fix: the reverse; told again: could not
be told before. Rebuilt: another machine under the same name; renamed: the same machine under
another name. No longer selected: plays matched the host before, and none does now.
"""

ChangeKind = Literal[
    "scenario",
    "sysctl",
    "expectation",
    "waiver",
    "controls",
    "kernel",
    "system",
    "isolation",
    "host",
    "finding",
]


class Change(Frozen, frozen=True, kw_only=True):
    """One thing that differs on one host between two runs; `before` and `after` are words for a
    reader.

    `what` is a finding's id for scenarios, sysctls and findings. `host` is the later run's name.
    `since` is the date (RFC 3339) it was first seen; for a fix, since when it had not been met.
    `severity` and `waived` are its finding's.
    """

    effect: Effect
    kind: ChangeKind
    host: str
    what: str
    before: str
    after: str
    since: str = ""
    severity: Severity | None = None
    waived: str | None = None


class ResetRate(Frozen, frozen=True, kw_only=True):
    """What one host felt between two runs: its counters' growth, and TCPAbortOnClose per 1,000
    connections.

    `seconds` is the time between the two runs' beginnings; `before_per_thousand` is the earlier
    run's rate since that boot. Where no rate can be told, `reason` says why and the numbers are
    null.
    """

    host: str
    seconds: float
    connections: int | None = None
    aborts: int | None = None
    per_thousand: float | None = None
    before_per_thousand: float | None = None
    reason: str = ""


class Drift(Frozen, frozen=True, kw_only=True):
    """What changed between two runs, regressions first; `before` and `after` are their ids, `since`
    and `until` when they began.

    `refused` says why the two cannot be compared, "" where they can. `hosts` counts those that were
    laid side by side. `notes` qualify the comparison. Rates differ at every run and so are no
    changes.
    """

    format: Literal["fleetaudit-drift/1"] = "fleetaudit-drift/1"
    before: str
    after: str
    since: str
    until: str
    refused: str = ""
    hosts: int = 0
    notes: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    rates: tuple[ResetRate, ...] = ()

    @property
    def is_unchanged(self) -> bool:
        """Whether the two were compared and nothing changed; what was refused is not known to be
        the same.
        """
        return not self.refused and not self.changes


class PastRun(Frozen, frozen=True, kw_only=True):
    """The counts of a run: `selected` is the sum of `audited`, `not_audited` and `not_selected` (by
    any play).

    `short` counts the hosts that fall short without a waiver, each once, by its gravest finding,
    gravest first.
    """

    run: str
    started: str
    selected: int
    audited: int
    not_audited: int
    not_selected: int = 0
    short: tuple[tuple[Severity, int], ...] = ()


class AuditRun(Frozen, frozen=True, kw_only=True):
    """A whole run: every selected host exactly once, in inventory order.

    `drift` is against `run.baseline`; `history` has the runs before it that were asked the same,
    oldest first. `locations` has the place of each expectation, by the id of its findings without a
    family.
    """

    format: Literal["fleetaudit-run/1"] = RUN_FORMAT
    run: RunInfo
    scenarios: tuple[ScenarioRow, ...]
    hosts: tuple[HostResult, ...]
    drift: Drift | None = None
    history: tuple[PastRun, ...] = ()
    locations: dict[str, Location] = {}
