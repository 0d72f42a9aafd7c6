"""Configuration files: their order, their keys, and the errors about anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetaudit.app import config
from fleetaudit.app.config import ConfigFile, load_config
from fleetaudit.app.option_values import parse_publish_mode
from fleetaudit.cli.configuration import RENAMED
from fleetaudit.cli.run import run
from fleetaudit.errors import ConfigError
from fleetaudit.store.run_file import read_run
from tests.support.commands import Workspace


@pytest.fixture(autouse=True)
def no_system_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's own file has no say in these tests."""
    monkeypatch.setattr(config, "SYSTEM", tmp_path / "etc/fleetaudit/config.yml")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def values(here: Path, **environment: str) -> dict[str, object]:
    return load_config(environment, here).values


def test_each_key_of_a_later_file_replaces_that_of_an_earlier_one(tmp_path: Path) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    write(tmp_path / "etc/fleetaudit/config.yml", "{forks: 1, retries: 1, user: system}")
    write(home / ".config/fleetaudit/config.yml", "{forks: 2, user: mine}")
    write(here / "fleetaudit.yml", "{forks: 3}")
    assert values(here, HOME=str(home)) == {"forks": 3, "retries": 1, "user": "mine"}
    write(tmp_path / "xdg/fleetaudit/config.yml", "{user: other}")
    assert values(here, HOME=str(home), XDG_CONFIG_HOME=str(tmp_path / "xdg"))["user"] == "other"
    assert (
        values(here, HOME=str(home), XDG_CONFIG_HOME="xdg")["user"] == "mine"
    )  # relative: invalid, ignored
    one = write(tmp_path / "one.yml", "{retries: 5}")
    assert values(here, HOME=str(home), FLEETAUDIT_CONFIG=str(one)) == {"retries": 5}
    assert values(here, HOME=str(home), FLEETAUDIT_CONFIG="")["forks"] == 3


@pytest.mark.parametrize("text", ["0644", '"0644"', "644", '"644"', "0o644"])
def test_a_mode_is_what_was_typed_whatever_yaml_makes_of_it(tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "one.yml", f"{{publish_mode: {text}, publish: site}}")
    found = values(tmp_path, FLEETAUDIT_CONFIG=str(file))
    if text == "0o644":
        assert found["publish_mode"] == text
        return
    assert parse_publish_mode(str(found["publish_mode"])) == 0o644
    assert found["publish"] == "site"


def test_no_file_is_no_configuration(tmp_path: Path) -> None:
    assert load_config({}, tmp_path).values == {}


@pytest.mark.parametrize("open_one", ["folder", "file"])
def test_what_everybody_may_write_is_passed_over_with_a_warning_unless_it_is_named(
    tmp_path: Path, open_one: str
) -> None:
    file = write(tmp_path / "here/fleetaudit.yml", "{notify: evil}")
    (file if open_one == "file" else file.parent).chmod(
        0o777 | (0o1000 if open_one == "folder" else 0)
    )
    found = load_config({}, file.parent)
    assert found.values == {}
    assert "everybody may write" in found.notes[0]
    assert values(file.parent, FLEETAUDIT_CONFIG=str(file)) == {"notify": "evil"}


def test_names_of_files_are_relative_to_the_file_that_has_them(tmp_path: Path) -> None:
    here = tmp_path / "here"
    text = (
        "{inventory: [hosts.yml, 'web1,'], playbook: p.yml, known_hosts: ~/kh, waivers: /w.yml,"
        " output_dir: out}"
    )
    write(tmp_path / "etc/fleetaudit/config.yml", text)
    folder = tmp_path / "etc/fleetaudit"
    assert values(here) == {
        "inventory": [str(folder / "hosts.yml"), "web1,"],
        "playbook": [str(folder / "p.yml")],
        "known_hosts": str(Path("~/kh").expanduser()),
        "waivers": "/w.yml",
        "output_dir": str(folder / "out"),
    }
    write(here / "fleetaudit.yml", "{inventory: hosts.yml}")
    assert values(here)["inventory"] == ["hosts.yml"]


def test_a_list_may_be_written_as_one_and_a_number_of_runs_as_a_number(tmp_path: Path) -> None:
    write(tmp_path / "fleetaudit.yml", "format: [html, csv]\nfail_on: [error, drift]\nkeep: 20\n")
    assert values(tmp_path) == {"format": "html,csv", "fail_on": "error,drift", "keep": 20}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("forks: 5\nretires: 1\n", ":2:1: unknown key “retires”; did you mean “retries”?"),
        ("forks: many\n", "text where a whole number belongs"),
        ("forks: 0\n", "expected `int` >= 1"),
        ("host_key_policy: lax\n", "“lax” is not one of"),
        ("- forks\n", "a list where a mapping belongs"),
        ("forks: [\n", ":2:1: "),
        ("forks: 1\nforks: 2\n", ":2:1: "),
        ("", "empty"),
    ],
    ids=str.strip,
)
def test_what_makes_no_sense_is_an_error_with_file_and_line(
    tmp_path: Path, text: str, words: str
) -> None:
    file = write(tmp_path / "fleetaudit.yml", text)
    with pytest.raises(ConfigError) as raised:
        load_config({}, tmp_path)
    assert str(raised.value).startswith(str(file))
    assert words in str(raised.value)


def test_a_file_that_is_named_and_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"FLEETAUDIT_CONFIG=nowhere\.yml: there is no such file"):
        load_config({"FLEETAUDIT_CONFIG": "nowhere.yml"}, tmp_path)


def test_every_key_is_an_option_of_run() -> None:
    options = {parameter.name for parameter in run.params}
    for key in ConfigFile.__struct_fields__:
        assert key == "inventory" or RENAMED.get(key, key) in options


# ---- through the command
# -------------------------------------------------------------------------------------------


def test_configuration_yields_to_the_environment_and_that_to_options(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    place.locals(1)
    (tmp_path / "inventory.yml").rename(tmp_path / "mine.yml")
    place.write(
        "fleetaudit.yml",
        "inventory: mine.yml\nplaybook: quick.yml\nformat: json\noutput_dir: configured\n",
    )
    command = ("run", "--baseline", "none")
    assert place.run(*command).returncode == 0
    assert [host.name for host in read_run(tmp_path / "configured/latest").hosts] == ["host00"]
    assert not (tmp_path / "configured/latest/report.html").exists()
    assert place.run(*command, FLEETAUDIT_OUTPUT_DIR="environment").returncode == 0
    assert (tmp_path / "environment/latest").exists()
    assert place.run(*command, "-o", "option", FLEETAUDIT_OUTPUT_DIR="environment").returncode == 0
    assert (tmp_path / "option/latest").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fork: 2\n", "fleetaudit.yml:1:1: unknown key “fork”"),
        ("timeout: 7200\n", "timeout"),
        (
            "fail_on: [error, often]\n",
            "the configuration's fail_on: “often” is none of info, warning",
        ),
        ("format: []\n", "the configuration's format: “” is none of html"),
        ("keep: 30 days\n", "the configuration's keep: '30 days' is neither"),
        ("notify: mail 'ops\n", "the configuration's notify \"mail 'ops\": No closing quotation"),
    ],
)
def test_status_78_for_a_configuration_that_makes_no_sense(
    tmp_path: Path, text: str, words: str
) -> None:
    place = Workspace(tmp_path)
    place.write("fleetaudit.yml", text)
    done = place.run("run", "localhost,", "-p", "quick.yml")
    assert done.returncode == 78, done.stdout + done.stderr
    assert words in done.stderr
    assert not (tmp_path / "reports").exists()


def test_a_world_writable_folder_is_warned_of_and_its_file_not_used(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    place.write("fleetaudit.yml", "nonsense: true\n")
    tmp_path.chmod(0o777)
    done = place.run("scenarios")
    assert done.returncode == 0
    assert "fleetaudit.yml: not read, because everybody may write into its folder" in done.stderr
