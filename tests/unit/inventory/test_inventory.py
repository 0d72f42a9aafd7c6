"""Inventories mean what they mean to Ansible, and what is not supported is refused with a hint."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.inventory import load_inventory
from fleetaudit.inventory.builder import InventoryBuilder
from fleetaudit.inventory.host_names import InvalidNameError, parse_host_name
from fleetaudit.inventory.yaml_format import read_yaml
from fleetaudit.model import Inventory
from fleetaudit.text import yaml_lines


def read(folder: Path, text: str, name: str = "hosts.yml") -> Inventory:
    (folder / name).write_text(text, "utf-8")
    return load_inventory([str(folder / name)])


def refused(folder: Path, text: str, name: str = "hosts.yml") -> InputError:
    with pytest.raises(InputError) as caught:
        read(folder, text, name)
    assert caught.value.source == str(folder / name)
    assert caught.value.exit_status == 65
    return caught.value


def names(inventory: Inventory) -> list[str]:
    return [host.name for host in inventory.hosts]


# ---- a name of a host and of a group


def test_a_group_and_its_host_with_the_name_localhost_are_read_with_a_note(tmp_path: Path) -> None:
    inventory = read(
        tmp_path, "[localhost]\nlocalhost ansible_connection=local\n[web]\nweb1\n", "hosts.ini"
    )
    path = tmp_path / "hosts.ini"
    assert inventory.hosts[0].variables == {"ansible_connection": "local"}
    assert inventory.groups["localhost"] == ("localhost",)
    assert inventory.notes == (
        (
            f"“localhost” is a host ({path}:2) and a group ({path}:1): "
            "as in Ansible, the pattern “localhost” selects the host alone"
        ),
    )


def test_variables_set_for_the_group_and_a_forgotten_children_line_are_notes(
    tmp_path: Path,
) -> None:
    text = "[vpn]\nvpn1\n[servers]\nvpn ansible_host=192.0.2.1 x=1\n"
    inventory = read(tmp_path, text, "hosts.ini")
    assert [dict(host.variables) for host in inventory.hosts] == [
        {"ansible_host": "192.0.2.1", "x": 1},
        {},
    ]
    (note,) = inventory.notes
    assert (
        f"; ansible_host ({tmp_path}/hosts.ini:4) and 1 more, written for the host, is set for the"
        " group" in note
    )
    assert note.endswith(f"to name the group in {tmp_path}/hosts.ini:4, write it below “children”")


def test_many_names_of_both_a_host_and_a_group_give_few_notes(tmp_path: Path) -> None:
    inventory = read(tmp_path, "".join(f"[a{n}]\na{n}\n" for n in range(500)), "hosts.ini")
    assert len(inventory.notes) == 11
    assert inventory.notes[-1] == "490 more names are both a host and a group"


# ---- what is read


def test_hosts_have_the_order_of_the_file_at_any_depth(tmp_path: Path) -> None:
    text = (
        "z: {hosts: {z1: }}\na: {children: {m: {hosts: {m1: , z1: }}}, hosts: {a1: }}\nall: {hosts:"
        " {first: }}\n"
    )
    assert names(read(tmp_path, text)) == ["z1", "m1", "a1", "first"]


def test_a_host_has_the_line_where_it_is_first_written(tmp_path: Path) -> None:
    inventory = read(
        tmp_path,
        "web:\n  hosts:\n    web1:\n    web[2:3]:\n      a: 1\ndb:\n  hosts:\n    web1: {b: 2}\n",
    )
    path = str(tmp_path / "hosts.yml")
    assert [host.origin for host in inventory.hosts] == [f"{path}:3", f"{path}:4", f"{path}:4"]
    assert inventory.hosts[0].variable_origins == {"b": f"{path}:8"}
    assert inventory.hosts[2].variable_origins == {"a": f"{path}:5"}


def test_the_nearest_group_of_a_host_comes_last(tmp_path: Path) -> None:
    (host,) = read(tmp_path, "far: {children: {near: {hosts: {h: }}}}\n").hosts
    assert host.groups == ("far", "near")


def test_a_variable_of_a_later_source_wins_and_the_host_keeps_its_place(
    tmp_path: Path,
) -> None:
    (tmp_path / "one.yml").write_text("web: {hosts: {b: {v: 1}, a: }}\n")
    (tmp_path / "two.yml").write_text("web: {hosts: {c: , b: {v: 2}}}\n")
    inventory = load_inventory([str(tmp_path / "one.yml"), str(tmp_path / "two.yml")])
    assert names(inventory) == ["b", "a", "c"]
    assert inventory.hosts[0].variables == {"v": 2}
    assert inventory.groups["web"] == ("b", "a", "c")


def test_a_list_of_hosts_is_an_inventory_with_ranges_and_ports() -> None:
    inventory = load_inventory(["web[1:2],db:2222,[2001:db8::1]:22,2001:db8::2,"])
    assert names(inventory) == ["web1", "web2", "db", "2001:db8::1", "2001:db8::2"]
    assert [h.variables.get("ansible_port") for h in inventory.hosts] == [
        None,
        None,
        2222,
        22,
        None,
    ]
    assert inventory.groups["ungrouped"] == inventory.groups["all"] == tuple(names(inventory))


def test_a_list_of_a_thousand_hosts_is_not_a_file_name() -> None:
    assert (
        len(load_inventory([",".join(f"host{n}.example.com" for n in range(1000))]).hosts) == 1000
    )


def test_localhost_in_a_list_alone_is_this_machine_without_ssh() -> None:
    (host,) = load_inventory(["localhost,"]).hosts
    assert host.variables == {"ansible_connection": "local"}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_localhost_in_a_file_is_an_ordinary_host_even_if_a_list_names_it(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    (tmp_path / "hosts.yml").write_text("web: {hosts: {localhost: }}\n")
    sources = [str(tmp_path / "hosts.yml"), "localhost,"]
    (host,) = load_inventory([sources[i] for i in order]).hosts
    assert host.variables == {}
    assert host.groups == ("web",)


def test_localhost_with_a_port_means_ssh() -> None:
    (host,) = load_inventory(["localhost:2222,"]).hosts
    assert host.variables == {"ansible_port": 2222}


def test_each_of_many_hosts_has_its_variables(tmp_path: Path) -> None:
    lines = ["all:", "  vars: {ansible_user: audit}", "  children:"]
    for group in range(5):
        lines += [f"    g{group}:", "      hosts:"]
        lines += [
            f"        h{group}-{n}.example.com: {{ansible_host: 10.{group}.{n // 256}.{n % 256}}}"
            for n in range(1000)
        ]
    (tmp_path / "hosts.yml").write_text("\n".join(lines) + "\n")
    inventory = load_inventory([str(tmp_path / "hosts.yml")])
    assert len(inventory.hosts) == 5000
    assert inventory.hosts[-1].variables == {"ansible_user": "audit", "ansible_host": "10.4.3.231"}


# ---- names


@pytest.mark.parametrize(
    ("text", "expected", "port"),
    [
        ("web[01:10:3]", ["web01", "web04", "web07", "web10"], None),
        ("db-[a:e:2]", ["db-a", "db-c", "db-e"], None),
        ("[y:B]", ["y", "z", "A", "B"], None),
        ("r[:1]s[8:9]", ["r0s8", "r0s9", "r1s8", "r1s9"], None),
        ("n[9:11]", ["n9", "n10", "n11"], None),
        ("web[1:2]:2222", ["web1", "web2"], 2222),
        ("::1", ["::1"], None),
        ("fe80::1%eth0", ["fe80::1%eth0"], None),
        ("[::1]:22", ["::1"], 22),
        ("[2001:db8::[1:2]]:22", ["2001:db8::1", "2001:db8::2"], 22),
        ("192.0.2.[1:2]:22", ["192.0.2.1", "192.0.2.2"], 22),
        ("::ffff:192.0.2.1", ["::ffff:192.0.2.1"], None),
        ("[host]:22", ["host"], 22),
    ],
)
def test_a_name_expands_as_in_ansible(text: str, expected: list[str], port: int | None) -> None:
    found, found_port = parse_host_name(text)
    assert (list(found), found_port) == (expected, port)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("web:ssh", "“ssh” in “web:ssh” is not a port"),
        ("web:0", "not a port"),
        ("web:65536", "not a port"),
        ("web:", "not a port"),
        ("2001:db8:::1", "not a port"),
        ("[::1]", "only where a port follows"),
        ("[1:3]:22", "not an IPv6 address"),
        ("web[1:3", "no partner"),
        ("web]", "no partner"),
        ("web[1-3]", "not a range"),
        ("web[1:]", "not a range"),
        ("web[01:100]", "differ in length"),
        ("web[5:1]", "ends before it begins"),
        ("web[C:a]", "ends before it begins"),
        ("web[1:3:0]", "the step"),
        ("web[a:10]", "not a range of numbers or of letters"),
        ("web[1:100001]", "100001 names"),
        ("a[1:1000]b[1:1000]", "1000000 names"),
        ("n[1:999999999999999999]", "more than the 100000 allowed"),
        ("web1 web2", "several names in one"),
        ("web1 ansible_host=192.0.2.1", "INI"),
        ("web1,web2", "several names in one"),
        ("web\x1b[2J", "control character"),
        ("{{ name }}", "several names"),
        ("{{name}}", "template"),
        ("", "empty host name"),
    ],
)
def test_an_invalid_host_name_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidNameError) as caught:
        parse_host_name(text)
    assert reason in caught.value.message
    assert caught.value.hint or "bracket" in reason


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 50), st.booleans())
def test_a_range_counts_as_a_loop_would(begin: int, length: int, step: int, padded: bool) -> None:
    end = begin + length
    low, high = (f"{begin:05}", f"{end:05}") if padded else (str(begin), str(end))
    expected, n = [], begin
    while n <= end:
        expected.append(f"h{n:05}x" if padded else f"h{n}x")
        n += step
    assert list(parse_host_name(f"h[{low}:{high}:{step}]x")[0]) == expected


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_is_refused(text: str) -> None:
    try:
        found, port = parse_host_name(text)
    except InvalidNameError:
        return
    assert all(name and not any(c.isspace() for c in name) for name in found)
    assert port is None or 0 < port < 65536


# ---- what is refused


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("all:\n  childern:\n    web: {hosts: {a: }}\n", 2, "did you mean “children”?"),
        (
            "all:\n  hosts: {a: }\n  web:\n    hosts: {b: }\n",
            3,
            "if “web” is a group, put it below “children:”",
        ),
        ("web:\n  hosts: {a: }\n  ansible_user: root\n", 3, "a variable below “vars:” of “web”"),
        ("hosts:\n  web1:\n", 1, "Ansible would drop “web1”\n  indent it below the line “all:”"),
        ("hosts:\n  hosts: {a: }\n  web1: {x: 1}\n", 1, "Ansible would drop “web1”"),
        ("hosts: web1\n", 1, "Ansible would drop text in it"),
        ("web: {hosts: {a: }}\nhosts:\n  - b\n", 2, "Ansible would drop a list in it"),
        ("children:\n  web: {hosts: {a: }}\n", 1, "Ansible would drop “web”"),
        (
            "vars: {ansible_user: audit}\nweb: {hosts: {a: }}\n",
            1,
            "Ansible would drop “ansible_user”",
        ),
        ("web: web1\n", 1, "expected the group “web”, found text"),
        ("web:\n  - web1\n", 2, "expected the group “web”, found a list"),
        ("web:\n  hosts:\n    - web1\n", 3, "without a dash"),
        ("web:\n  children: 5\n", 2, "expected the children of “web” as a mapping, found a number"),
        (
            "web:\n  vars: ansible_user=root\n",
            2,
            "expected the vars of “web” as a mapping, found text",
        ),
        (
            "web:\n  hosts:\n    web1: ansible_host=192.0.2.1\n",
            3,
            "expected the variables of the host “web1”, found text",
        ),
        ("web:\n  hosts:\n    web1\n    web2\n", 2, "several names in one"),
        (
            "prod:\n  children:\n    web\n    db\nweb: {hosts: {a: }}\n",
            2,
            "folded from several lines",
        ),
        ("all:\n  hosts:\n    web:\n      hosts:\n        a:\n", 4, "“web” is written as a host"),
        ("all:\n  hosts:\n    web:\n      web-1.example.com:\n", 4, "“web” is written as a host"),
        (
            "web: {hosts: {a: }}\nprod:\n  hosts:\n    all:\n",
            4,
            "the name “all”, which is the name of a built-in",
        ),
        ("a:\n  children: {b: }\nb:\n  children: {a: }\n  hosts: {h: }\n", 0, "a loop of groups"),
        ("a:\n  hosts: {h: }\n  children:\n    a:\n", 4, "a loop of groups: a > a"),
        ("a:\n  hosts: {h: }\n  children:\n    all:\n", 4, "every group is in it"),
        (
            "ungrouped:\n  hosts: {h: }\n  children:\n    a:\n",
            4,
            "“ungrouped” is for hosts in no group",
        ),
        (
            "a:\n  hosts: {h: }\n  children:\n    ungrouped:\n",
            4,
            "“ungrouped” is for hosts in no group",
        ),
        ("web:\n  hosts:\n    a:\n    a:\n", 4, "duplicate key"),
        ("web:\n\thosts:\n", 2, "a tab"),
        ("web:\n  hosts:\n    a: {p: !vaulted x}\n", 3, "!vaulted"),
        ("web:\n  hosts:\n    a: !!python/object:os.system x\n", 3, "must not run code"),
        ("web:\n  hosts:\n    no:\n", 3, "put the name in quotes"),
        ("web:\n  hosts:\n    10:\n", 3, "put the name in quotes"),
        ("10:\n  hosts: {a: }\n", 1, "put the name in quotes"),
        ("web:\n  hosts:\n    a: {1: x}\n", 3, "a variable's name that YAML reads as a number"),
        ("web:\n  hosts:\n    ~:\n", 3, "a host without a name"),
        ("web:\n  hosts:\n    web[1:200000]:\n", 3, "more than the 100000 allowed"),
        ("web:\n  hosts:\n    web1:http:\n", 3, "is not a port"),
        ("web:\n  hosts:\n    a:\ndb:\n  hosts:\n    a:2222:\n", 6, "comes too late"),
        (
            "web:\n  vars:\n    ansible_group_priority: high\n  hosts: {a: }\n",
            3,
            "ansible_group_priority",
        ),
        ("plugin: amazon.aws.aws_ec2\nregions: [x]\n", 1, "ansible-inventory -i"),
        ("- web1\n", 1, "expected a mapping of groups, found a list"),
        ("web:\n  hosts:\n", 0, "no host in it"),
        ("# nothing\n", 0, "empty"),
        ("", 0, "empty"),
        ("web: {hosts: {a: }}\n---\n", 2, "second document"),
        ("$ANSIBLE_VAULT;1.1;AES256\n3133\n", 1, "--vault-password-file"),
        ("#!/usr/bin/python3\nprint(1)\n", 0, "chmod +x"),
    ],
)
def test_what_ansible_would_skip_is_refused_at_its_line(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    error = refused(tmp_path, text)
    assert message in str(error)
    assert line in (0, error.line)


def test_a_toml_inventory_is_refused_with_the_command_to_convert_it(tmp_path: Path) -> None:
    assert "ansible-inventory -i" in refused(tmp_path, "[web.hosts.a]\n", "hosts.toml").hint


def test_bytes_that_are_not_utf8_are_refused_at_their_line(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_bytes(b"web:\n  hosts: {caf\xe9: }\n")
    with pytest.raises(InputError, match=r"hosts.yml:2:\d+: byte 0xe9"):
        load_inventory([str(tmp_path / "hosts.yml")])


def test_a_missing_file_gives_status_66_and_a_hint_about_the_comma() -> None:
    with pytest.raises(NothingToDoError, match="web1,") as caught:
        load_inventory(["web1"])
    assert caught.value.exit_status == 66


def test_a_file_that_cannot_be_read_is_an_error_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").symlink_to("hosts.yml")
    with pytest.raises(InputError, match="cannot be read: Too many levels of symbolic links"):
        load_inventory([str(tmp_path / "hosts.yml")])


def test_a_broken_source_among_good_ones_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.yml").write_text("")
    with pytest.raises(InputError, match="empty"):
        load_inventory(["localhost,", str(tmp_path / "empty.yml")])


def test_no_source_and_an_empty_list_are_errors() -> None:
    with pytest.raises(NothingToDoError):
        load_inventory([])
    with pytest.raises(InputError, match="no host in it"):
        load_inventory([","])


def test_a_bad_name_in_a_list_is_an_error_about_the_list() -> None:
    with pytest.raises(InputError, match="host list: “x” in “web:x” is not a port"):
        load_inventory(["web:x,"])


def test_a_message_never_repeats_a_value(tmp_path: Path) -> None:
    for text in (
        "web:\n  vars: hunter2\n",
        "web: hunter2\n",
        "web: {hosts: {a: hunter2}}\n",
        "web: {hosts: {a: {ansible_password: !vaulted hunter2}}}\n",
        "web: {vars: {ansible_group_priority: hunter2}, hosts: {a: }}\n",
        "web: {hosts: {a: {p: hunter2, 1: hunter2}}}\n",
    ):
        assert "hunter2" not in str(refused(tmp_path, text))


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.sampled_from(["web", "a", "hosts", "children", "x y"]),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["hosts", "children", "vars", "all", "web", "a", "b", ""]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_tree_is_an_inventory_or_an_error_for_the_user(tree: object) -> None:
    builder = InventoryBuilder()
    try:
        read_yaml(yaml_lines.parse_yaml(json.dumps(tree), source="tree"), builder)  # JSON is YAML
        inventory = builder.build(["tree"])
    except InputError:
        return
    assert set(inventory.groups["all"]) == {host.name for host in inventory.hosts}


def test_hosts_share_the_variables_of_their_groups_without_copies(
    tmp_path: Path,
) -> None:
    shared = "".join(f"    shared_{n}: {n}\n" for n in range(40))
    hosts = "".join(f"    h{n}: {{own: {n}, shared_3: mine}}\n" for n in range(3))
    (tmp_path / "hosts.yml").write_text(f"all:\n  vars:\n{shared}  hosts:\n{hosts}")
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars" / "h1.yml").write_text("own: file\n")
    variables = [host.variables for host in load_inventory([str(tmp_path / "hosts.yml")]).hosts]
    copied = {f"shared_{n}": n for n in range(40)} | {"shared_3": "mine"}
    assert [dict(found) for found in variables] == [copied | {"own": own} for own in (0, "file", 2)]
    assert variables[0] == copied | {"own": 0}
    assert list(variables[0]) == list(copied | {"own": 0})
    assert len(variables[0]) == 41
    assert ("own" in variables[0], "shared_9" in variables[0], "none" in variables[0]) == (
        True,
        True,
        False,
    )
    assert (
        variables[0].get("shared_3"),
        variables[0].get("none"),
        variables[0].get("none", 1),
    ) == ("mine", None, 1)
    assert sys.getsizeof(variables[0]) < 100
