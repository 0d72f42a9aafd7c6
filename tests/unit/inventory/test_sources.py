"""Every kind of source: errors have their line, and only a program that is named is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.errors import ConfigError, InputError, NothingToDoError
from fleetaudit.inventory import load_inventory
from fleetaudit.inventory.builder import InventoryBuilder
from fleetaudit.inventory.ini_format import read_ini
from fleetaudit.inventory.json_text import parse_json
from fleetaudit.inventory.vault import Vault, load_vault
from fleetaudit.model import Inventory
from tests import DATA

VAULT = DATA / "inventories" / "vault"


def write(path: Path, text: str, *, executable: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    if executable:
        path.chmod(0o700)
    return path


def names(inventory: Inventory) -> list[str]:
    return [host.name for host in inventory.hosts]


def refused(*sources: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        load_inventory([str(source) for source in sources])
    assert caught.value.exit_status == 65
    return caught.value


# ---- INI


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[web]\nweb1 web2\n", 2, "a word without “=” after the host “web1”"),
        ("[web]\nweb1 x='1\n", 2, "does not end well: no closing quotation"),
        ("[web]\nweb1 x=1 x=2\n", 2, "duplicate key “x”; the first is in line 2"),
        ("[web]\nweb1 =1\n", 2, "a variable without a name"),
        ("[web]\nweb1:http\n", 2, "is not a port"),
        ("[web]\nweb1:\n", 2, "is not a port"),
        ("[web]\nweb[5:1]\n", 2, "ends before it begins"),
        ("[web]\nweb[1:200000]\n", 2, "more than the 100000 allowed"),
        ("[web]\n---\n", 2, "is this YAML?"),
        ("[web:hosts:x]\na\n", 1, "not a valid section"),
        ("[we b]\na\n", 1, "not a valid section"),
        ("[web\na\n", 1, "a section without its closing bracket"),
        ("[]\na\n", 1, "not a valid section"),
        ("[web:var]\na\n", 1, "an unknown kind, “var”"),
        ("a\n[web:vars]\nk=v\n", 2, "variables of the group “web”, which has no section"),
        ("[web:vars]\nk\n[web]\na\n", 2, "a line without “=” among the variables of “web”"),
        ("[web:vars]\nk=1\nk=2\n[web]\na\n", 3, "duplicate key “k”; the first is in line 2"),
        ("[p:children]\nc\n[web]\na\n", 2, "the group “c”, a child of “p”, has no section"),
        ("[p:children]\nc d\n[c]\na\n", 2, "not a group's name"),
        ("[web:vars]\nansible_group_priority=high\n[web]\na\n", 2, "ansible_group_priority"),
        ("[a:children]\nb\n[b:children]\na\n[a]\nh\n", 0, "a loop of groups"),
        ("[a:children]\na\n[a]\nh\n", 2, "a loop of groups"),
        (
            "[web]\na\n[prod]\nungrouped\n",
            4,
            "the name “ungrouped”, which is the name of a built-in group",
        ),
        ("[web]\na\n[db]\na:2222\n", 4, "comes too late"),
        ("# nothing\n; more\n", 0, "empty"),
        ("[web]\n", 0, "no host in it"),
        ("{{x}}\n", 1, "template"),
    ],
)
def test_an_error_in_an_ini_file_is_refused_at_its_line(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    error = refused(write(tmp_path / "hosts.ini", text))
    assert message in str(error)
    assert line in (0, error.line)


def test_an_ini_error_never_repeats_a_value() -> None:
    for text in (
        "a p=hunter2 p=hunter2",
        "a hunter2",
        "a p='hunter2",
        "[all:vars]\nhunter2",
        "[all:children]\nx hunter2",
    ):
        with pytest.raises(InputError) as caught:
            read_ini(text, "hosts", InventoryBuilder())
        assert "hunter2" not in str(caught.value)


def test_a_host_and_its_variables_have_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "hosts", "# c\n[web]\na x=1\n\n[web:vars]\ny=2\n")
    (host,) = load_inventory([str(path)]).hosts
    assert (host.origin, host.variable_origins) == (
        f"{path}:3",
        {"x": f"{path}:3", "y": f"{path}:6"},
    )


@pytest.mark.parametrize("name", ["hosts", "hosts.ini", "hosts.prod", "hosts.yml"])
def test_a_file_that_begins_with_a_section_is_ini_under_any_name(tmp_path: Path, name: str) -> None:
    assert names(load_inventory([str(write(tmp_path / name, "; c\n[web]\na x=yes\n"))])) == ["a"]


def test_broken_yaml_gives_an_error_about_yaml_and_not_about_ini(tmp_path: Path) -> None:
    error = refused(write(tmp_path / "hosts", "all:\n  hosts:\n    a: {x: 1\n"))
    assert error.line in (3, 4)
    assert "port" not in str(error)


@given(
    st.text(st.sampled_from("ab[]:,=#;'\" \n\t0{}@-") | st.characters(codec="utf-8"), max_size=60)
)
def test_any_text_is_read_as_ini_or_is_an_error_for_the_user(text: str) -> None:
    builder = InventoryBuilder()
    try:
        read_ini(text, "hosts", builder)
        inventory = builder.build(["hosts"])
    except InputError:
        return
    assert set(inventory.groups["all"]) == set(names(inventory))


@given(st.text("[({'\"1,a:})]", min_size=1, max_size=2000))
def test_any_value_is_a_literal_or_text(value: str) -> None:
    builder, message = InventoryBuilder(), ""
    try:
        read_ini(f"a\n[all:vars]\nk={value}\n", "hosts", builder)
    except InputError as e:
        message = str(e)
    assert not message or "nested too deep" in message


# ---- JSON


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(st.characters(codec="utf-8")),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
        ),
        max_leaves=10,
    ).map(lambda value: {"top": value}),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_json_has_the_values_of_the_standard_library_and_every_key_its_place(
    tree: dict[str, object], indent: int | None, ascii_: bool
) -> None:
    text = json.dumps(tree, indent=indent, ensure_ascii=ascii_)
    document = parse_json(text, source="x.json")
    assert document is not None
    assert document.value == tree
    line, column = document.key_at(["top"])
    assert text.split("\n")[line - 1][column - 1 :].startswith('"top"')


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            '{"web": {"hosts": {\n"a": {},\n"a": {}}}}',
            3,
            "duplicate key “a”; the first is in line 2, column 1",
        ),
        ('{"web": {"hosts": ["a"]}}', 1, "a listing without “_meta”"),
        ('{"web": {"hosts": ["a"]}, "_meta": {}}', 1, "no mapping “hostvars”"),
        (
            '{"web": {"hosts": ["a"]},\n"_meta": {"hostvars": {"b": {}}}}',
            2,
            "“b” has variables and is in no group",
        ),
        ('{"web": {"hosts": ["a b"]}, "_meta": {"hostvars": {}}}', 1, "several names in one"),
        ('{"web": {"hosts": [1]}, "_meta": {"hostvars": {}}}', 1, "not text"),
        (
            '{"web": {"hosts": "a"}, "_meta": {"hostvars": {}}}',
            1,
            "the hosts of “web” are not a list of names",
        ),
        (
            '{"web": {"hosts": ["a"], "vars": []}, "_meta": {"hostvars": {}}}',
            1,
            "the vars of “web” are not a mapping",
        ),
        ('{"web": {"hosts": ["a"], "x": 1}, "_meta": {"hostvars": {}}}', 1, "unknown key “x”"),
        (
            '{"web": {}, "db": ["a"], "_meta": {"hostvars": {}}}',
            1,
            "neither hosts nor children nor vars",
        ),
        (
            '{"web": {"x": 1}, "db": ["a"], "_meta": {"hostvars": {}}}',
            1,
            "neither hosts nor children nor vars",
        ),
        (
            '{"web": ["a"], "_meta": {"hostvars": {"a": []}}}',
            1,
            "the variables of “a” are not a mapping",
        ),
        ('{"web": ["\\ud800"], "_meta": {"hostvars": {}}}', 1, "lone surrogate"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", 0, "nested deeper"),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}", 1, "nested deeper"),
    ],
)
def test_an_error_in_json_is_refused_at_its_line(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    error = refused(write(tmp_path / "hosts.json", text))
    assert message in str(error)
    assert line in (0, error.line)


# ---- programs


def test_a_program_runs_only_if_the_command_line_names_it(tmp_path: Path) -> None:
    program = write(
        tmp_path / "inv" / "run.sh",
        f"#!/bin/sh\ntouch {tmp_path}/ran\necho '{{}}'\n",
        executable=True,
    )
    error = refused(program.parent)
    assert "only one that the command line names is run" in str(error)
    assert not (tmp_path / "ran").exists()


# ---- folders, and files next to them


def test_a_broken_file_in_a_folder_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "inv" / "a", "[web]\na\n")
    write(tmp_path / "inv" / "b.yml", "web: [\n")
    assert refused(tmp_path / "inv").source.endswith("b.yml")


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "inv" / "group_vars" / "all", "x: 1\n")
    assert "a folder without an inventory" in str(refused(tmp_path / "inv"))


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    write(tmp_path / "inv" / "hosts", "a\n")
    (tmp_path / "inv" / "again").symlink_to(tmp_path / "inv")
    assert "links" in str(refused(tmp_path / "inv"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"group_vars/web/a.yml": "x: 1", "group_vars/web.yml": "x: 2"},
            "web beside it comes first",
        ),
        (
            {"group_vars/web.yml": "x: 1", "group_vars/web.yaml": "x: 2"},
            "web.yml beside it comes first",
        ),
        ({"group_vars/web": "- x\n"}, "not a mapping of variables"),
        ({"group_vars/web": "1: x\n"}, "a variable's name that is not text"),
        ({"host_vars/a.yml": "x: [\n"}, "a.yml:"),
        ({"group_vars/all": "$ANSIBLE_VAULT;1.1;AES256\n3132\n"}, "no password was given"),
    ],
)
def test_an_error_in_group_vars_or_host_vars_is_refused(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    hosts = write(tmp_path / "hosts", "[web]\na\n")
    for name, text in files.items():
        write(tmp_path / name, text)
    assert message in str(refused(hosts))


def test_of_a_duplicate_key_in_a_vars_file_the_last_counts_and_both_lines_are_named(
    tmp_path: Path,
) -> None:
    hosts = write(tmp_path / "hosts", "[web]\na\n")
    all_, web = (
        write(tmp_path / "group_vars/all", "k: true\nother: 1\nk: false\n"),
        tmp_path / "group_vars/web.json",
    )
    write(web, '{"m": {"a": 1,\n"b": 2,\n"a": "hunter2"}}')
    inventory = load_inventory([str(hosts)])
    assert inventory.hosts[0].variables == {"k": False, "other": 1, "m": {"a": "hunter2", "b": 2}}
    assert inventory.hosts[0].variable_origins["k"] == f"{all_}:3"
    assert inventory.notes == (
        (
            f"{all_}:3: duplicate key “k”; the first is in line 1. "
            "The last value counts, as in Ansible"
        ),
        (
            f"{web}:3: duplicate key “a”; the first is in line 1. "
            "The last value counts, as in Ansible"
        ),
    )


def test_many_duplicate_keys_in_a_file_give_few_notes(tmp_path: Path) -> None:
    hosts = write(tmp_path / "hosts", "a\n")
    write(tmp_path / "host_vars/a", "".join(f"k{n}: 1\nk{n}: 2\n" for n in range(5000)))
    notes = load_inventory([str(hosts)]).notes
    assert len(notes) == 6
    assert notes[-1].endswith("4995 more duplicate keys")


def test_a_variable_of_a_vars_file_has_its_file_and_line(tmp_path: Path) -> None:
    hosts = write(tmp_path / "hosts", "[web]\na\n")
    file = write(tmp_path / "group_vars" / "web" / "x.yml", "# c\nansible_user: audit\n")
    (host,) = load_inventory([str(hosts)]).hosts
    assert host.variable_origins == {"ansible_user": f"{file}:2"}


def test_variables_of_the_current_folder_are_not_read_and_there_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "inv" / "hosts", "[web]\na\n")
    write(tmp_path / "here" / "group_vars" / "web", "x: 1\n")
    write(tmp_path / "here" / "host_vars" / "nobody", "x: 1\n")
    monkeypatch.chdir(tmp_path / "here")
    inventory = load_inventory(["../inv/hosts"])
    assert inventory.hosts[0].variables == {}
    assert len(inventory.notes) == 1
    assert inventory.notes[0].startswith("group_vars in the current folder is not read")
    monkeypatch.chdir(tmp_path / "inv")
    assert load_inventory(["hosts"]).notes == ()


# ---- vault


def test_an_encrypted_inventory_is_read_with_its_password_and_refused_without(
    tmp_path: Path,
) -> None:
    hosts = write(tmp_path / "hosts.yml", (VAULT / "group_vars" / "web.yml").read_text())
    assert "--vault-password-file" in str(refused(hosts))
    with pytest.raises(
        InputError, match="expected the group “from_file”, found"
    ):  # it was opened: it is no inventory
        load_inventory([str(hosts)], vault=load_vault(VAULT / "password"))


def test_a_wrong_password_a_damaged_file_and_a_missing_password_have_different_errors(
    tmp_path: Path,
) -> None:
    locked = (VAULT / "group_vars" / "web.yml").read_text()
    hosts = write(tmp_path / "hosts.yml", locked)
    with pytest.raises(InputError, match="another password, or damaged"):
        load_inventory([str(hosts)], vault=Vault(b"another"))
    for damaged, message in (
        (locked[:-9], "damaged"),
        (locked.replace("AES256", "AES"), "unsupported format"),
        (locked[:40], "damaged"),
    ):
        with pytest.raises(InputError, match=message):
            load_inventory(
                [str(write(tmp_path / "hosts.yml", damaged))], vault=load_vault(VAULT / "password")
            )


def test_a_password_file_is_never_run_and_never_empty(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not run"):
        load_vault(write(tmp_path / "p.sh", "#!/bin/sh\necho x\n", executable=True))
    with pytest.raises(ConfigError, match="no vault password"):
        load_vault(write(tmp_path / "empty", "\n"))
    with pytest.raises(NothingToDoError, match="no such vault password file"):
        load_vault(tmp_path / "missing")


def test_a_dangling_link_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(NothingToDoError, match="no such inventory"):
        load_inventory([str(tmp_path / "dangling")])
