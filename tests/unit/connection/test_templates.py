"""Templates in values: rendered in a sandbox with limits; errors name variables, never values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.connection.template_limits import MAX_RESULT
from fleetaudit.connection.templates import MAX_TEMPLATE, Renderer, TemplateValueError
from fleetaudit.inventory.values import EncryptedText, Unsafe
from fleetaudit.inventory.vault import Vault
from fleetaudit.model import Host, Inventory


def rendered(text: Any, **variables: Any) -> Any:
    origins = dict.fromkeys(variables, "inv/hosts:5")
    host = Host(
        name="web1.example.com",
        groups=("prod", "web"),
        variables={"it": text, **variables},
        variable_origins=origins,
        origin="inv/hosts:3",
    )
    other = Host(
        name="db1", variables={"address": "{{ net }}.9", "net": "192.0.2"}, origin="inv/hosts:9"
    )
    groups = {"all": (host.name, other.name), "web": (host.name,)}
    inventory = Inventory(sources=("inv/hosts",), hosts=(host, other), groups=groups)
    return Renderer(host, Vault(), inventory).value("it")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{ n }}", 22),
        ("{{ n }}0", "220"),
        ("{{ n + 1 }}", 23),
        ("{{ yes }}", True),
        ("{{ l }}", [1, 2]),
        ("{{ l[1] }}", 2),
        ("{{ m.a }}", 22),
        ("{{ m['a'] }}", 22),
        ("{{ m }}", {"a": 22, "b": "x"}),
        ("{{ nothing }}", None),
        ("{{ missing | default('d') }}", "d"),
        ("{{ m.missing | default('d') }}", "d"),
        ("{{ missing is defined }}", False),
        ("{% if n > 1 %}big{% else %}small{% endif %}", "big"),
        ("{{ 'a' if yes else 'b' }}", "a"),
        ("{{ inventory_hostname }}", "web1.example.com"),
        ("{{ inventory_hostname_short }}", "web1"),
        ("{{ inventory_hostname.split('.')[0] | upper }}", "WEB1"),
        ("{{ group_names }}", ["prod", "web"]),
        ("{{ groups['web'] | first }}", "web1.example.com"),
        ("{{ hostvars['db1'].address }}", "192.0.2.9"),
        ("{{ hostvars['db1']['missing'] | default(1) }}", 1),
        ("{{ 'web' in group_names }}", True),
        ("{{ 'no' | bool }}", False),
        ("{{ yes | ternary('a', 'b') }}", "a"),
        ("{{ l | join('-') }}", "1-2"),
        ("{{ 'a-b' | replace('-', '_') }}", "a_b"),
        ("{{ '/a/b' | basename }}", "b"),
        ("{{ '5' | int }}", 5),
        ("{{ l | map('string') | list }}", ["1", "2"]),
        ("{{ l | map('string') }}", ["1", "2"]),
        ("{{ (l | map('string'))[1] }}", "2"),
        ("{{ l | select('odd') | map('string') }}", ["1"]),
        ("{# comment #}x", "x"),
        ("{{ '{{' }}", "{{"),
        (["{{ n }}", {"k": "{{ n }}"}], [22, {"k": 22}]),
    ],
)
def test_a_template_has_the_same_value_as_in_ansible(text: Any, expected: Any) -> None:
    found = rendered(text, n=22, yes=True, l=[1, 2], m={"a": "{{ n }}", "b": "x"}, nothing=None)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ missing }}", "needs “missing”, which is not set"),
        ("{{ a.b }}", "needs “b”, which is not set"),
        ("{{ [1].append(2) }}", "not known to be harmless"),
        ("{{ it }}", "refers to itself: it > it"),
        ("{{ one }}", "refers to itself: it > one > two > one"),
        ("{{ lookup('env', 'HOME') }}", "it calls “lookup”"),
        ("{{ query('file', '/etc/passwd') }}", "it calls “query”"),
        ("{{ lookup }}", "needs “lookup”"),
        ("{{ ansible_facts.x }}", "needs “ansible_facts”"),
        ("{% for i in a %}{{ i }}{% endfor %}", "no “for”"),
        ("{% set x = 1 %}{{ x }}", "no “assign”"),
        ("{% macro m() %}{% endmacro %}", "no “macro”"),
        ("{% include '/etc/passwd' %}", "no “include”"),
        ("{% import '/etc/passwd' as x %}", "no “import”"),
        ("{% extends 'x' %}", "no “extends”"),
        ("{{ 'x' | random }}", "the filter “random” is not run here"),
        ("{{ 'x' | password_hash }}", "the filter “password_hash” is not run here"),
        ("{{ ''.__class__ }}", "is not rendered here"),
        ("{{ ''['__class__'] }}", "is unsafe"),
        ("{{ a['__class__'] }}", "is unsafe"),
        ("{{ ''.format(1) }}", "not known to be harmless"),
        ("{{ '%9999999999d' % 1 }}", "formats text"),
        ("{{ 'x' * 99999999 }}", "too long"),
        ("{{ 99999999 * 'x' }}", "too long"),
        ("{{ 9 ** 9 ** 9 }}", "too large"),
        ("{{ (big | replace('x', big)) }}", "more than"),
        ("{{ big | list | join(big) }}", "more than"),
        ("{{ big ~ big }}", "more than"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ 'x' + 1 }}", "TypeError"),
        ("{{ 'x", "its syntax is wrong"),
        ("{{ self }}", "“self”"),
        ("{{ a " + " " * MAX_TEMPLATE + "}}", "longer than"),
        ("{{ v0 }}", "more than 20 variables"),
        ("{{ missing | mandatory }}", "needs “missing”"),
        (
            "{{ locked }}",
            "cannot be used: it is encrypted by ansible-vault, and no password was given",
        ),
    ],
)
def test_an_error_about_a_template_names_its_variable_and_origin(text: str, message: str) -> None:
    chain = {f"v{n}": f"{{{{ v{n + 1} }}}}" for n in range(40)}
    variables: dict[str, Any] = {
        "a": {"hunter2": "hunter2"},
        "one": "{{ two }}",
        "two": "{{ one }}",
        **chain,
    }
    variables |= {
        "big": "x" * (MAX_RESULT - 1),
        "locked": EncryptedText("$ANSIBLE_VAULT;1.1;AES256\n3132\n"),
    }
    with pytest.raises(TemplateValueError) as caught:
        rendered(text, **variables)
    assert message in str(caught.value)
    assert " in inv/hosts:" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_unsafe_text_is_never_rendered_even_inside_another_template() -> None:
    assert rendered(Unsafe("{{ x }}")) == "{{ x }}"
    assert rendered("{{ u }}", u=Unsafe("{{ x }}")) == "{{ x }}"


def test_one_bad_entry_of_a_mapping_spoils_no_other() -> None:
    assert rendered("{{ m.good }}", m={"good": 1, "bad": "{{ missing }}"}) == 1


def test_results_that_grow_with_every_variable_are_bounded() -> None:
    laughs = {f"v{n}": f"{{{{ v{n + 1} }}}}{{{{ v{n + 1} }}}}" for n in range(18)} | {"v18": "ha"}
    with pytest.raises(TemplateValueError, match="more than"):
        rendered("{{ v0 }}", **laughs)


@pytest.mark.parametrize(
    "value", ['{{ "\\ud800" }}', "\ud800", ["a", "\udfff"], {"k": '{{ "x\\udc80" }}'}]
)
def test_half_a_character_is_an_error_about_its_host(value: Any) -> None:
    with pytest.raises(TemplateValueError, match="half a character"):
        rendered(value)


@given(
    st.text(st.sampled_from("{}%# |.[]()'\"ab1+*~,_") | st.characters(codec="utf-8"), max_size=30)
)
def test_any_text_is_rendered_or_an_error_about_its_host(text: str) -> None:
    try:
        rendered(text, a=1, b="{{ a }}")
    except TemplateValueError as e:
        assert str(e)  # noqa: PT017 — either outcome is right; nothing else may come
