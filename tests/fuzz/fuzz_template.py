"""Templates of an inventory's variables, in their sandbox: `connection.templates`.

A success is a plain value; nothing else than `TemplateValueError` comes out, in bounded time.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.harness import as_text, fuzz, instrumented

with instrumented():
    from jinja2 import Undefined

    from fleetaudit.connection.templates import Renderer, TemplateValueError
    from fleetaudit.inventory.vault import Vault
    from fleetaudit.model import Host, Inventory

WORDS = (
    "{{ ", " }}", "{% ", " %}", "{# ", " #}", "for x in ", "endfor", "if ", "endif", "set ",
    "|default(", "|int", "|join", "|map(", "|regex_replace(", "range(", "__class__", "__mro__",
    "hostvars", "groups", "inventory_hostname", "lookup(", "cycler", "namespace(", ".format(",
    "other", "items", "{:>99999999}", "**", "*", "~", "is defined", "loop", "macro", "caller",
    "|attr(", "__globals__", "self", "%s",
)  # fmt: skip
PLAIN = (str, int, float, bool, type(None), list, dict, Undefined)
"""Undefined is an “if” without “else”, as in Ansible; no setting takes it."""


def TestOneInput(data: bytes) -> None:
    """Renders one value of a host, which may refer to two others."""
    variables = {"v": as_text(data), "other": "{{ number + 1 }}", "number": 41}
    host = Host(name="web1", groups=("web",), variables=variables)
    inventory = Inventory(sources=(), hosts=(host,), groups={"all": ("web1",), "web": ("web1",)})
    try:
        value = Renderer(host, Vault(), inventory).value("v")
    except TemplateValueError as e:
        assert len(str(e)) < 100_000
        return
    assert isinstance(value, PLAIN), type(value)


def seeds() -> Iterable[bytes]:
    """Yields templates of every kind, and known ways out of a sandbox."""
    for template in (
        "{{ other }}", "{% for x in range(3) %}{{ x }}{% endfor %}",
        "{{ hostvars['web1'].number }}",
        "{{ groups['web'] | join(',') }}", "{{ ().__class__.__mro__ }}", "{{ 'a' * 10 ** 9 }}",
        "{{ v }}", "{{ cycler.__init__.__globals__.os }}", "{{ '%s' % 5 }}",
        "{{ 1 if x is defined }}",
        "{% set a = [1] %}{{ a.append(2) }}{{ a }}", "{{ '{0.__class__}'.format(1) }}", "{# c #}x",
        "{{ number | int | string | regex_replace('1', '2') }}",
        "{% macro m() %}{{ m() }}{% endmacro %}",
    ):  # fmt: skip
        yield template.encode()


if __name__ == "__main__":
    fuzz(TestOneInput)
