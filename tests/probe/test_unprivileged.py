"""An ordinary user on a host without user namespaces: which verdicts there are, and the reasons
of the others.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from fleetaudit.model import Audited, Family, HostPlan
from fleetaudit.playbook import load_playbook
from fleetaudit.probe import protocol, verdict
from tests.support import probe_runs
from tests.support.accounts import Account, Accounts, StartAccounts
from tests.support.commands import Workspace
from tests.support.probe_runs import request, run, scenario
from tests.support.sshd import require

from .test_faults import plan
from .test_isolation import NEEDS_CAPTURE

NAMESPACE = "needs a private network namespace"
OWN_SETTINGS = "needs a private network namespace: the probe changes no setting of the host"
REPAIR = "TCP_REPAIR needs CAP_NET_ADMIN or user namespaces; set become: true"
LACKS = {
    NEEDS_CAPTURE: {
        "unread-and-fin-close",
        "drained-and-fin-close",
        "reread-fin-close",
        "mptcp-drained-close",
    },
    OWN_SETTINGS: {"fastopen-unread-close", "fastopen-drained-close"},
    NAMESPACE: {"unread-destroyed", "drained-destroyed"},
    REPAIR: {"unread-repair-close"},
}
"""Some of the scenarios that this host lacks something for, by the reason."""
Wrap = Callable[[], list[str]]
KINDS = [
    pytest.param(probe_runs.host_without_user_namespaces, id="no user namespaces"),
    pytest.param(probe_runs.host_without_capabilities, id="AppArmor"),
]


def shipped(trials: int) -> HostPlan:
    names = [s.name for s in load_playbook(None).plays[0].scenarios]
    return plan(*names, trials=trials)


def audited(asked: HostPlan, wrap: Wrap) -> Audited:
    within = [*wrap(), *probe_runs.as_nobody()]
    sent = protocol.make_request(asked, deadline_s=100).decode("ascii")
    return verdict.result_from_output(
        asked, probe_runs.run_text(sent, within=within, python=probe_runs.public_python())
    )


@pytest.mark.parametrize("wrap", KINDS)
def test_every_scenario_with_a_witness_keeps_its_verdict_and_the_others_say_what_they_need(
    wrap: Wrap,
) -> None:
    asked = shipped(1)
    seen = audited(asked, wrap)
    assert (seen.isolation, seen.void) == ("host", "")
    assert any(note.startswith("no private network namespace") for note in seen.notes)
    assert (
        "no packets are captured: needs CAP_NET_RAW or user namespaces; set become: true"
        in seen.notes
    )
    reasons = {(o.scenario, o.family): o.reason for o in seen.observations if o.ending == "not run"}
    for reason, names in LACKS.items():
        assert names <= {name for (name, _), why in reasons.items() if why == reason}
    controls = {s.name: s.control or "" for s in asked.scenarios}
    for o in seen.observations:
        if o.ending == "inconclusive":
            control = controls[o.scenario]
            assert reasons.get((control, o.family), "") == NEEDS_CAPTURE, o
            assert o.reason.startswith(f"its control {control} was not run: needs a capture"), o
    told = {
        (o.scenario, o.family): o.ending
        for o in seen.observations
        if o.ending not in ("inconclusive", "not run")
    }
    wrong = {
        (s.name, family): told[s.name, family]
        for s in asked.scenarios
        for family in s.families
        if s.severity != "info"
        and (s.name, family) in told
        and told[s.name, family] not in s.expect
    }
    assert wrong == {}
    assert len(told) > 100


@pytest.mark.parametrize("wrap", [pytest.param(list, id="with user namespaces"), *KINDS])
def test_a_check_without_trials_says_beforehand_what_a_run_will_not_have(wrap: Wrap) -> None:
    check = audited(shipped(0), wrap)
    assert not any(o.trials for o in check.observations)
    assert check.void == ""
    predicted = {(o.scenario, o.family): o.reason for o in check.observations if o.reason}
    seen = audited(shipped(1), wrap)
    assert predicted == {
        (o.scenario, o.family): o.reason for o in seen.observations if o.ending == "not run"
    }


@pytest.mark.parametrize(
    "steps",
    [
        "peer sends 5 bytes; peer closes; closer closes",
        "peer connects over MPTCP; closer closes; peer reads to the end; peer closes",
        "peer connects over IPv4-mapped IPv6; peer closes; closer closes",
        "peer sends 10 bytes; closer reads all; peer resends 10 bytes with FIN; closer closes",
    ],
)
def test_what_only_a_capture_would_show_is_not_run_without_one(steps: str) -> None:
    call = request(scenario("unseen", steps), isolation="host")
    reply = run(call, python=probe_runs.public_python(), within=probe_runs.as_nobody())
    assert {(o.not_run, o.failed, o.trials) for o in reply.observations} == {
        (NEEDS_CAPTURE, False, ())
    }


@pytest.mark.parametrize("isolation", ["auto", "host"])
def test_over_af_unix_nothing_shows_the_ending_once_the_peer_is_closed(isolation: str) -> None:
    steps = "peer connects over AF_UNIX; peer sends 5 bytes; peer closes; closer closes"
    (observation,) = run(request(scenario("unseen", steps), isolation=isolation)).observations
    expected = "over AF_UNIX only the peer's socket shows the ending, and here it is closed"
    assert (observation.not_run, observation.trials) == (expected, ())


def test_root_without_a_packet_socket_is_not_told_to_become_root() -> None:
    probe_runs.need_program("setpriv")
    within = [*probe_runs.in_new_network(), "setpriv", "--bounding-set=-net_raw"]
    reply = run(
        request(scenario("unseen", "peer closes; closer closes"), isolation="host"), within=within
    )
    assert {o.not_run for o in reply.observations} == {
        "needs a capture (needs CAP_NET_RAW, which root lacks here)"
    }


def test_a_user_with_the_capability_captures() -> None:
    probe_runs.need_program("setpriv")
    raw = ["--inh-caps=+net_raw", "--ambient-caps=+net_raw"]
    within = [
        *probe_runs.in_new_network(),
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        *raw,
        "--",
    ]
    call = request(
        scenario("seen", "peer closes; closer closes", families=("ipv4",)), isolation="host"
    )
    (observation,) = run(call, python=probe_runs.public_python(), within=within).observations
    assert [bool(trial.wire) for trial in observation.trials] == [True]


# ---- the whole way, through a real sshd


@pytest.fixture(scope="module")
def hosts(start_accounts: StartAccounts) -> dict[str, Accounts]:
    """Hosts with an ordinary user: without user namespaces in each of three ways, and with them."""
    sysctls = (
        "mount -t tmpfs none /proc/sys/kernel; echo 0 > /proc/sys/kernel/sched_autogroup_enabled; "
    )
    denied = [
        *probe_runs.host_without_capabilities(),
        "unshare",
        "--mount",
        "sh",
        "-ec",
        sysctls + 'echo 1 > /proc/sys/kernel/apparmor_restrict_unprivileged_userns; exec "$@"',
        "sh",
    ]
    clone = [
        *probe_runs.host_without_capabilities(),
        "unshare",
        "--mount",
        "sh",
        "-ec",
        sysctls + 'echo 0 > /proc/sys/kernel/unprivileged_userns_clone; exec "$@"',
        "sh",
    ]
    within = {
        "rhel7": probe_runs.host_without_user_namespaces(),
        "ubuntu": denied,
        "debian": clone,
        "usual": list[str](),
    }
    sudoers = "alice ALL=(ALL) NOPASSWD: ALL\n"
    return {
        name: start_accounts(accounts=(Account("alice"),), sudoers=sudoers, within=w)
        for name, w in within.items()
    }


class Fleet(Workspace):
    def __init__(self, path: Path, hosts: dict[str, Accounts]) -> None:
        super().__init__(path)
        keys = next(iter(hosts.values())).server.keys
        known = self.write(
            "known", "".join(host.server.known_hosts.read_text() for host in hosts.values())
        )
        inventory = {
            name: {
                "ansible_host": "127.0.0.1",
                "ansible_port": host.server.port,
                "ansible_user": "alice",
            }
            for name, host in hosts.items()
        }
        self.write("inventory.json", json.dumps({"all": {"hosts": inventory}}))
        self.options = ("--private-key", str(keys.user()), "--known-hosts", str(known))


@pytest.fixture
def fleet(hosts: dict[str, Accounts], tmp_path: Path) -> Fleet:
    return Fleet(tmp_path, hosts)


SYSCTLS = {
    "rhel7": "sysctl -w user.max_user_namespaces=15000",
    "ubuntu": "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    "debian": "sysctl -w kernel.unprivileged_userns_clone=1",
}


@pytest.mark.ssh
def test_doctor_counts_what_a_run_will_lack_and_names_the_command(fleet: Fleet) -> None:
    done = fleet.run("doctor", "inventory.json", *fleet.options, "--format", "json")
    assert done.returncode == 0, done.stderr
    visits = {visit["name"]: visit for visit in json.loads(done.stdout)["hosts"]}
    usual = visits.pop("usual")
    if usual["isolation"] == "namespace":
        assert (usual["no_capture"], usual["sets_sysctls"], usual["fixes"]) == ("", True, [])
    for name, visit in visits.items():
        assert (visit["ready"], visit["isolation"], visit["sets_sysctls"]) == (True, "host", False)
        assert visit["no_capture"] == "needs CAP_NET_RAW or user namespaces; set become: true"
        become, setting = visit["fixes"]
        assert become.startswith("fleetaudit doctor inventory.json ")
        assert become.endswith(f"-l {name} --become")
        assert setting == f"{SYSCTLS[name]} # as root, on the host"
        missing = {
            (lack["ending"], lack["reason"]): set(lack["scenarios"]) for lack in visit["missing"]
        }
        for reason, names in LACKS.items():
            assert names <= missing["not run", reason]
        control = "its control mptcp-drained-close would not run"
        assert missing["inconclusive", control] == {"mptcp-unread-close", "mptcp-zero-linger-close"}


@pytest.mark.ssh
def test_what_doctor_counted_is_what_a_run_lacks_and_the_host_counts_as_audited(
    fleet: Fleet,
) -> None:
    checked = fleet.run(
        "doctor", "inventory.json", *fleet.options, "-l", "rhel7", "--format", "json"
    )
    [visit] = json.loads(checked.stdout)["hosts"]
    done = fleet.run(
        "run", "inventory.json", *fleet.options, "-l", "rhel7", "--format", "json", "-o", "out"
    )
    [host] = json.loads(next((fleet.path / "out").glob("2*/run.json")).read_text())["hosts"]
    assert (host["status"], host.get("void", "")) == ("audited", ""), done.stdout
    endings = [o["ending"] for o in host["observations"]]
    assert len(endings) == visit["verdicts"]
    for ending in ("not run", "inconclusive"):
        assert endings.count(ending) == sum(
            m["verdicts"] for m in visit["missing"] if m["ending"] == ending
        )
    assert done.returncode in (0, 2), done.stderr
    graver = [f for f in host["findings"] if f["severity"] != "info"]
    assert done.returncode == (2 if graver else 0)
    assert not any(f["observed"].startswith("unknown: ") for f in graver), graver


@pytest.mark.ssh
def test_the_story_of_one_host_and_the_table_of_many_end_with_the_commands(fleet: Fleet) -> None:
    story = fleet.run(
        "doctor", "inventory.json", *fleet.options, "-l", "rhel7", COLUMNS="200"
    ).stdout
    assert (
        "No packet would be captured: needs CAP_NET_RAW or user namespaces; set become: true"
        in story
    )
    assert "No scenario could set a sysctl" in story
    assert f"not run: {NEEDS_CAPTURE} (unread-and-fin-close, drained-and-fin-close" in story
    assert "   or:  sysctl -w user.max_user_namespaces=15000 # as root, on the host" in story
    (fix,) = [
        line.partition(":")[2].strip() for line in story.splitlines() if line.startswith("  fix:")
    ]
    assert fix.startswith("fleetaudit doctor inventory.json --private-key")
    assert story.splitlines()[-1].startswith("next:  fleetaudit run inventory.json")
    table = fleet.run("doctor", "inventory.json", *fleet.options, COLUMNS="200").stdout
    assert "Ready, but a run would measure in the host's own namespace" in table
    assert f"not run: {NEEDS_CAPTURE}\n" in table
    assert all(f"      or:  {line} # as root, on the host\n" in table for line in SYSCTLS.values())


@pytest.mark.ssh
def test_the_first_command_that_doctor_names_brings_the_verdicts_back(fleet: Fleet) -> None:
    require("sudo")
    checked = fleet.run(
        "doctor", "inventory.json", *fleet.options, "-l", "rhel7", "--format", "json"
    )
    [visit] = json.loads(checked.stdout)["hosts"]
    verb, *words = shlex.split(visit["fixes"][0])[1:]
    [again] = json.loads(fleet.run(verb, *words, "--format", "json").stdout)["hosts"]
    assert (again["isolation"], again["no_capture"], again["fixes"]) == ("namespace", "", []), again
    assert NEEDS_CAPTURE not in {lack["reason"] for lack in again["missing"]}


@pytest.mark.ssh
def test_doctor_counts_the_scenarios_of_the_playbook_that_is_named(fleet: Fleet) -> None:
    done = fleet.run(
        "doctor", "inventory.json", *fleet.options, "-p", "quick.yml", "--format", "json"
    )
    assert done.returncode == 0, done.stderr
    for visit in json.loads(done.stdout)["hosts"]:
        assert (visit["verdicts"], visit["missing"], visit["fixes"]) == (3, [], []), visit


def test_families_of_a_check_are_those_of_a_run() -> None:
    asked = replace(shipped(0), scenarios=shipped(0).scenarios[:3])
    families: set[Family] = {f for s in asked.scenarios for f in s.families}
    assert {o.family for o in audited(asked, list).observations} == families
