"""A run begun with any option at all is resumed by its name alone, with the options that it began
with.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from fleetaudit.app.resume import PROCESS_OPTIONS
from fleetaudit.cli.params import Seconds
from fleetaudit.cli.run import run
from tests import ROOT
from tests.support.commands import Workspace
from tests.support.terminal import type_line

pytestmark = [pytest.mark.commands, pytest.mark.timeout(660)]

# Begins a run for each case, leaves it as kill -9 does after one host, and resumes it; tells what
# was in force each time. The options are tested, so that a transport takes the hosts' place. One
# process, since there are many cases.
TWICE = """
import json, os, pathlib, sys
from fleetaudit.cli import run_command_line
from fleetaudit.cli.run_command import RunCommand
from fleetaudit.transport import registry
from tests.support.stored_runs import as_killed
from tests.unit.engine.test_scheduler import reply, to_call

registry.Transports.run = lambda self, target, command, stdin, *rest: to_call(stdin, reply())
in_force, prepare = [], RunCommand._prepare
def recorded(self):
    options = self.request.command_options.values()
    in_force.append({**options, "inventories": self.request.sources})
    prepared = prepare(self)
    in_force[-1]["forks in the end"] = prepared.connection.forks
    return prepared
RunCommand._prepare = recorded

found = {}
for name, case in json.loads(pathlib.Path(sys.argv[1]).read_text()).items():
    in_force.clear()
    os.environ.update(case["environment"])
    statuses = [run_command_line(case["first"])]
    folder = next(pathlib.Path(case["output"]).glob("2*"), None)
    if folder is None:
        found[name] = {"statuses": statuses}
        continue
    plan = json.loads((folder / "plan.json").read_bytes())
    for key in case["unknown"]:
        del plan[key]
    (folder / "plan.json").write_text(json.dumps(plan))
    before = json.loads((folder / "run.json").read_bytes())
    as_killed(folder, 1)
    for variable in case["environment"]:
        del os.environ[variable]
    os.environ.update(case["later"])
    statuses.append(run_command_line(["run", "--resume", str(folder), *case["resume"]]))
    for variable in case["later"]:
        del os.environ[variable]
    whole = folder / "run.json"
    after = json.loads(whole.read_bytes()) if whole.exists() else None
    found[name] = {"statuses": statuses, "in_force": list(in_force), "runs": [before, after]}
pathlib.Path("found.json").write_text(json.dumps(found))
"""
SYSCTLS = (
    "- name: sysctls\n  hosts: all\n  tags: [some]\n  sysctls: {collect:"
    " [net.ipv4.tcp_fin_timeout]}\n"
)

SAMPLES: dict[str, tuple[str, ...]] = {
    "inventories": ("web[1:4],", "db1,"),
    "playbooks": ("sysctls.yml",),
    "tags": ("some",),
    "skip_tags": ("others",),
    "limit": ("web1:web2:web3",),
    "extra_vars": ("ansible_port=2222", "ansible_user=eve"),
    "user": ("somebody",),
    "private_key": ("key",),
    "connection_password_file": ("secret",),
    "become_user": ("operator",),
    "become_password_file": ("secret",),
    "known_hosts": ("known",),
    "vault_password_file": ("secret",),
    "output_dir": ("elsewhere",),
    "formats": ("json,csv",),
    "fail_on": ("error",),
    "waivers": ("waivers.yml",),
    "baseline": ("none",),
    "shard": ("1/2",),
    "serial": ("1,50%",),
    "rate": ("100/s",),
    "keep": ("90d",),
    "notify": ("true",),
    "report_url": ("https://example.org/fleet",),
    "publish": ("site",),
    "publish_mode": ("0644",),
}
"""Values of the options that take any text; of the others the type tells one."""
WITH = dict.fromkeys(
    ("become_user", "become_method", "become_password_file", "ask_become_pass"), ("-b",)
)
"""What an option is of no use without."""
NO_RUN = {"resume", "check", "help", "engine"}
"""Options with which no run begins; that of --engine needs a cluster."""
PARAMETERS = {
    parameter.name or "": parameter for parameter in run.params if parameter.name not in NO_RUN
}
ASKED = ("ask_pass", "ask_become_pass")
"""Options that ask at a terminal."""
TOGETHER = [name for name in PARAMETERS if name not in ASKED]


def words_for(parameter: click.Parameter) -> list[str]:
    """Returns the arguments with this option, and a value that is not its default."""
    name, option = parameter.name or "", parameter.opts[0]
    if isinstance(parameter, click.Argument):
        return list(SAMPLES[name])
    assert isinstance(parameter, click.Option)
    if parameter.is_flag or parameter.count:
        return [option]
    return [word for value in values_for(parameter) for word in (option, value)]


def values_for(parameter: click.Option) -> tuple[str, ...]:
    default = parameter.default
    match parameter.type:
        case click.Choice(choices=choices):
            return (next(str(choice) for choice in choices if choice != default),)
        case Seconds():
            return (str(2 * float(str(default)) if isinstance(default, float) else 900),)
        case click.FloatRange():
            return ("50",)
        case click.IntRange():
            return (str(default + 1 if isinstance(default, int) else 7),)
        case _:
            assert parameter.name in SAMPLES, f"give {parameter.opts[0]} a value in SAMPLES"
            return SAMPLES[parameter.name]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run begun with the words `first`, in an environment, and resumed with `resume` in that of
    `later`. `unknown` are the keys that plan.json lacks, as in an earlier version.
    """

    first: list[str]
    output: str
    resume: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    later: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


def case(name: str, words: list[str], **more: Any) -> Case:
    """Returns the case of these words, in an output folder of its own."""
    inventories = [] if any(word.endswith(",") for word in words) else ["web[1:4],"]
    defaults = [] if "-p" in words else ["-p", "sysctls.yml"]
    defaults += [] if "--format" in words else ["--format", "json"]
    output = words[words.index("-o") + 1] if "-o" in words else f"out-{name}"
    return Case(first=["run", "-o", output, *inventories, *defaults, *words], output=output, **more)


OTHERS = {
    "environment then": case("e1", [], environment={"FLEETAUDIT_TIMEOUT": "33"}),
    "environment now": case(
        "e2", [], later={"FLEETAUDIT_TIMEOUT": "33", "FLEETAUDIT_HOST_KEY_POLICY": "off"}
    ),
    "typed now, refused": case("t1", ["-T", "20"], resume=("-T", "30")),
    "typed now, taken": case("t2", ["-f", "5", "--run-deadline", "100"], resume=("-f", "2")),
    "earlier version": case("v1", ["-T", "20"], unknown=("given", "job")),
    "earlier version, default": case("v2", [], unknown=("given", "job")),
}


def cases() -> dict[str, Case]:
    alone = {
        name: case(name, [*words_for(PARAMETERS[name]), *WITH.get(name, ())]) for name in TOGETHER
    }
    # A site is of one output folder, and the case of all options has another one.
    alone["publish"] = case("publish", ["--publish", "site of one"])
    left_out = {"inventories", "quiet", "cron", "transport", "output_dir", "extra_vars"}
    left_out.add("no_exec")  # it excludes --notify
    every = [
        word for name in TOGETHER if name not in left_out for word in words_for(PARAMETERS[name])
    ]
    everything = {"every option at once": case("all", ["web[1:4],", *every])}
    # The last one: whatever reads standard input after --cron finds nothing there.
    cron = alone.pop("cron")
    return {**alone, **everything, **OTHERS, "cron": cron}


def prepared(path: Path, cases: Mapping[str, Case]) -> tuple[Workspace, list[str]]:
    """Returns a folder with what the cases name, and the command that goes through them."""
    place = Workspace(path)
    place.write("sysctls.yml", SYSCTLS)
    place.write("waivers.yml", "[]\n")
    place.write("cases.json", json.dumps(msgspec.to_builtins(cases)))
    for name in ("key", "secret", "known"):
        place.write(name, "x\n").chmod(0o600)
    return place, [sys.executable, "-c", TWICE, "cases.json"]


def gone_through(path: Path, cases: Mapping[str, Case]) -> dict[str, Any]:
    place, command = prepared(path, cases)
    _, env = place.command(PYTHONPATH=str(ROOT))
    done = subprocess.run(command, cwd=path, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((path / "found.json").read_text())
    return found | {"said": done.stderr}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return gone_through(tmp_path_factory.mktemp("options"), cases())


def assert_resumed(found: dict[str, Any], said: str = "") -> None:
    """Asserts that the second run went as the first, under the same options, to the same result."""
    assert found["statuses"] == [0, 0], said
    (first, then), (one, other) = found["in_force"], found["runs"]
    assert {k: v for k, v in first.items() if k not in PROCESS_OPTIONS} == {
        k: v for k, v in then.items() if k not in PROCESS_OPTIONS
    }
    assert [host["name"] for host in one["hosts"]] == [host["name"] for host in other["hosts"]]
    for key in ("job", "limit", "shard", "tags", "skip_tags", "playbooks", "inventory"):
        assert one["run"][key] == other["run"][key], key


@pytest.mark.parametrize("name", [*TOGETHER, "every option at once"])
def test_a_run_begun_with_an_option_is_resumed_with_it(found: dict[str, Any], name: str) -> None:
    assert_resumed(found[name], found["said"])


@pytest.mark.parametrize("name", ASKED)
def test_a_resumed_run_that_prompted_for_a_password_prompts_again(
    tmp_path: Path, name: str
) -> None:
    only = {name: case(name, [*words_for(PARAMETERS[name]), *WITH.get(name, ())])}
    place, command = prepared(tmp_path, only)
    line = shlex.join(["env", f"PYTHONPATH={ROOT}", f"HOME={tmp_path}", *command])
    status, shown = type_line(
        f"cd {shlex.quote(str(place.path))} && {line}", ("password", "x"), ("password", "x")
    )
    assert status == 0, shown
    assert_resumed(json.loads((tmp_path / "found.json").read_text())[name], shown)


# ---- given elsewhere, or not given
# ---------------------------------------------------------------------------------


def test_the_environment_of_the_first_start_still_applies(found: dict[str, Any]) -> None:
    assert_resumed(found["environment then"])
    assert [force["timeout"] for force in found["environment then"]["in_force"]] == [33, 33]


def test_what_the_environment_says_only_now_does_not_count(found: dict[str, Any]) -> None:
    assert_resumed(found["environment now"])


def test_an_option_that_is_typed_now_and_changes_how_hosts_are_reached_is_refused(
    found: dict[str, Any],
) -> None:
    assert found["typed now, refused"]["statuses"] == [0, 65]
    assert "web[1-4]" in found["said"]


def test_how_many_hosts_at_once_may_be_typed_anew(found: dict[str, Any]) -> None:
    assert found["typed now, taken"]["statuses"] == [0, 0]
    in_force = found["typed now, taken"]["in_force"]
    assert [(force["forks"], force["run_deadline"]) for force in in_force] == [(5, 100), (2, 100)]


@pytest.mark.parametrize("name", ["earlier version", "earlier version, default"])
def test_a_plan_of_an_earlier_version_does_not_record_which_options_were_set(
    found: dict[str, Any], name: str
) -> None:
    """There, what differs from the default was."""
    assert_resumed(found[name])


def test_ansible_cfg_applies_if_no_option_was_set(tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").write_text("[defaults]\ntimeout = 44\nforks = 7\n")
    found = gone_through(
        tmp_path, {"none": case("none", []), "given": case("given", ["-T", "10", "-f", "32"])}
    )
    for name, forks in (("none", 7), ("given", 32)):
        assert_resumed(found[name])
        assert [force["forks in the end"] for force in found[name]["in_force"]] == [forks, forks]
