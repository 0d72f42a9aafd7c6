"""Every kind of target has one transport, which other packages ask."""

from __future__ import annotations

import ast
from typing import get_args

import pytest

from fleetaudit.model import Become, KernelTarget, LocalTarget, SshTarget, Stage, Target
from fleetaudit.transport.registry import MODULES, transport_of
from tests import ROOT
from tests.support import sources

SUDO = Become()
# Where targets are made, and where the options of SSH are the subject.
EXEMPT = ("connection/", "transport/", "app/connection_arguments", "app/doctor")
TARGETS = {target.__name__ for target in get_args(Target)}


def test_every_kind_of_target_has_a_transport() -> None:
    assert set(MODULES) == set(get_args(Target))


@pytest.mark.parametrize(
    ("target", "text", "stages"),
    [
        (LocalTarget(), "this machine", ()),
        (LocalTarget(become=SUDO), "this machine, as root by sudo", ("become",)),
        (
            SshTarget(address="web1"),
            "ssh web1",
            ("resolve", "connect", "host key", "authenticate"),
        ),
        (
            SshTarget(address="web1", user="audit", port=2222, become=SUDO),
            "ssh audit@web1 port 2222, as root by sudo",
            ("resolve", "connect", "host key", "authenticate", "become"),
        ),
        (
            SshTarget(address="web1", client="openssh"),
            "ssh web1, by the system's ssh",
            ("resolve", "connect", "host key", "authenticate"),
        ),
        (KernelTarget(image="/boot/vmlinuz"), "kernel /boot/vmlinuz", ("resolve", "connect")),
    ],
)
def test_a_transport_describes_its_target_and_its_stages(
    target: Target, text: str, stages: tuple[Stage, ...]
) -> None:
    transport = transport_of(target)
    assert transport.describe(target) == text
    assert transport.stages(target) == stages


@pytest.mark.parametrize(
    ("target", "line"),
    [
        (LocalTarget(), "uname -r"),
        (SshTarget(address="web1", user="u"), "ssh -o BatchMode=yes u@web1 'uname -r'"),
        (KernelTarget(image="/boot/vmlinuz"), ""),
    ],
)
def test_a_command_for_a_target_can_be_typed(target: Target, line: str) -> None:
    assert transport_of(target).command_line(target, "uname -r") == line


def test_only_the_built_in_client_reports_a_login_and_only_a_kernel_boots() -> None:
    paramiko, openssh = SshTarget(address="h"), SshTarget(address="h", client="openssh")
    kernel = KernelTarget(image="x")
    targets: tuple[Target, ...] = (paramiko, openssh, LocalTarget(), kernel)
    assert [t for t in targets if transport_of(t).reports_login(t)] == [paramiko]
    assert [t for t in targets if transport_of(t).boots] == [kernel]
    assert [t for t in targets if transport_of(t).is_process(t)] == [openssh, LocalTarget(), kernel]


def test_no_other_module_asks_for_the_class_of_a_target() -> None:
    package = ROOT / "fleetaudit"
    found = []
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).with_suffix("").as_posix()
        if name.startswith((*EXEMPT, "probe/remote")):
            continue
        for node in ast.walk(sources.syntax_tree(path)):
            is_test = isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance"
            if is_test or isinstance(node, ast.MatchClass):
                names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
                found += [f"{name}: {each}" for each in names & TARGETS]
    assert found == []
