"""Names, values and files of sysctls."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetaudit.probe.remote import sysctl_files, sysctls
from fleetaudit.probe.remote.errors import Unsupported


def test_dots_and_slashes_are_swapped() -> None:
    assert sysctls.swap_separators("net.ipv4.conf.eth0/1.rp_filter") == (
        "net/ipv4/conf/eth0.1/rp_filter"
    )
    assert sysctls.sysctl_path("net.core.somaxconn") == "/proc/sys/net/core/somaxconn"


@pytest.fixture
def proc_sys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a folder that stands for /proc/sys."""
    for name in ("tcp_b", "tcp_a", "ip_x"):
        (tmp_path / "ipv4").mkdir(exist_ok=True)
        (tmp_path / "ipv4" / name).write_text("1\n")
    for interface in ("lo", "eth0.1"):
        (tmp_path / "ipv4" / "conf" / interface).mkdir(parents=True)
        (tmp_path / "ipv4" / "conf" / interface / "rp_filter").write_text("0\n")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("ipv4.tcp_*", ["ipv4.tcp_a", "ipv4.tcp_b"]),
        ("ipv4.*", ["ipv4.ip_x", "ipv4.tcp_a", "ipv4.tcp_b"]),  # no folders
        ("ipv4.conf.*.rp_filter", ["ipv4.conf.eth0/1.rp_filter", "ipv4.conf.lo.rp_filter"]),
        ("ipv4.conf.eth0/1.rp_filter", ["ipv4.conf.eth0/1.rp_filter"]),
        ("no.such", ["no.such"]),  # an exact name is not looked up
        ("no.su*", []),
        ("ipv4.tcp_[ab]", ["ipv4.tcp_a", "ipv4.tcp_b"]),
        ("ipv4.ip_?", ["ipv4.ip_x"]),
    ],
)
def test_a_pattern_selects_one_level_a_part(proc_sys: Path, pattern: str, names: list[str]) -> None:
    assert sysctls.expand(pattern.split("."), str(proc_sys), "") == names


def test_without_fnmatch_wildcards_are_taken_literally(
    proc_sys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysctls, "fnmatch", None)
    assert sysctls.expand(["ipv4", "tcp_*"], str(proc_sys), "") == ["ipv4.tcp_*"]


def test_selected_names_are_sorted_unique_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sysctls.select_sysctls(["b.c", "a", "b.c"]) == ["a", "b.c"]
    monkeypatch.setattr(sysctls, "MAX_SYSCTLS", 2)
    assert sysctls.select_sysctls(["c", "b", "a"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "value"), [("4096\t131072\t6291456\n", "4096 131072 6291456"), ("\n", "")]
)
def test_a_value_is_one_line_with_single_spaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, value: str
) -> None:
    (tmp_path / "value").write_text(text)
    monkeypatch.setattr(sysctls, "sysctl_path", lambda key: str(tmp_path / key))
    assert sysctls.read_sysctl("value") == (value, "")
    assert sysctls.read_sysctl("missing") == (None, "absent")
    assert sysctls.sysctl_entry("value") == {
        "value": value,
        "default": None,
        "state": "",
        "used": None,
    }


@pytest.mark.parametrize("key", ["net.ipv4.tcp_fastopen_key", "net.x.stable_secret"])
def test_secrets_are_not_read(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setattr(sysctls, "read_file", lambda *_: pytest.fail("it was read"))
    assert sysctls.read_sysctl(key) == (None, "unreadable: a secret, not read")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("net.ipv4.tcp_fin_timeout ", "net/ipv4/tcp_fin_timeout"),
        ("net/ipv4/conf/eth0.1/rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
        ("net.ipv4.conf.eth0/1.rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
        ("-net.core.somaxconn", "net/core/somaxconn"),
        ("panic", "panic"),
        ("", ""),
    ],
)
def test_the_first_separator_of_a_name_decides(key: str, name: str) -> None:
    assert sysctl_files.assigned_name(key) == name


CONFIGURATION = """
# a comment = 1
; net.ipv4.tcp_sack = 1
net.ipv4.tcp_fin_timeout = 30
  -net.core.somaxconn=5
-net.ipv4.tcp_rfc1337
no assignment
net.ipv4.*=1
"""


def test_the_assignments_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "9-a.conf"
    path.write_text(CONFIGURATION)
    path.chmod(0o644)
    assert sysctl_files.read_assignments(str(path)) == [
        ("net/ipv4/tcp_fin_timeout", f"{path}:4"),
        ("net/core/somaxconn", f"{path}:5"),
        ("net/ipv4/tcp_rfc1337", ""),
        ("net/ipv4/*", f"{path}:8"),
    ]


def test_only_world_readable_files_of_a_bounded_size_are_read(tmp_path: Path) -> None:
    path = tmp_path / "9-a.conf"
    assert sysctl_files.read_configuration(str(path)) == ""
    path.write_text("a=1\n" * 10)
    path.chmod(0o640)
    with pytest.raises(Unsupported, match="not world-readable"):
        sysctl_files.read_configuration(str(path))
    path.chmod(0o644)
    assert sysctl_files.read_configuration(str(path)) == "a=1\n" * 10
    with pytest.raises(Unsupported, match="too long"):
        sysctl_files.read_configuration(str(path), limit=39)
    path.unlink()
    path.symlink_to("/dev/null")  # hides the files of that name
    assert sysctl_files.read_configuration(str(path)) == ""


def test_a_path_with_unusual_characters_is_not_reported(tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        sysctl_files.shown_path(str(tmp_path / "a b.conf"))
    with pytest.raises(Unsupported):
        sysctl_files.shown_path("/" + "a" * 200)


LINES = [("a/b", "f:1"), ("a/*", "f:2"), ("a/c", ""), ("a/?", "f:3"), ("a/b", "")]


@pytest.mark.parametrize(
    ("exclusion_clears", "places"),
    [
        (False, {"a/b": "f:1", "a/c": "", "a/d": "f:3", "a/long": "f:2", "a/b/c": "", "b": ""}),
        (True, {"a/b": "", "a/c": "", "a/d": "f:3"}),
    ],
)
def test_the_last_line_of_a_name_counts_before_the_last_wildcard(
    exclusion_clears: bool, places: dict[str, str]
) -> None:
    table = sysctl_files.SysctlTable(LINES, exclusion_clears)
    assert {name: table.place(name) for name in places} == places


def test_wildcards_cannot_be_judged_without_fnmatch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysctl_files, "fnmatch", None)
    with pytest.raises(Unsupported):
        sysctl_files.SysctlTable(LINES, False)
    assert sysctl_files.SysctlTable(LINES[:1], False).place("a/b") == "f:1"
