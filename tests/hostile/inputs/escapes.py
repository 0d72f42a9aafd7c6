"""Ways out of a Jinja2 sandbox that are known, and templates where none is rendered."""

from __future__ import annotations

from tests.commands.test_hostile_inventories import TEMPLATES

from .attack import OWNED, Attack

RUN = f"touch {OWNED}"
ESCAPES = (
    # classes of objects
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''.__class__.__base__.__subclasses__() }}",
    "{{ [].__class__.__bases__[0].__subclasses__() }}",
    "{{ {}.__class__.__mro__ }}",
    "{{ ().__class__ }}",
    "{{ (1).__class__ }}",
    "{{ true.__class__ }}",
    "{{ none.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''['__cla' ~ 'ss__'] }}",
    "{{ ''['\\x5f\\x5fclass\\x5f\\x5f'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ ''|attr(['__', 'class', '__']|join) }}",
    "{{ ['']|map(attribute='__class__')|list }}",
    "{{ ['']|map('attr', '__class__')|list }}",
    "{{ [{'a': ''}]|map(attribute='a.__class__')|list }}",
    "{{ ['']|groupby('__class__') }}",
    "{{ ['']|sort(attribute='__class__') }}",
    "{{ ['']|unique(attribute='__class__')|list }}",
    "{{ ['']|sum(attribute='__class__') }}",
    "{{ ['a', 'b']|max(attribute='__class__') }}",
    "{{ ['']|selectattr('__class__')|list }}",
    "{{ ['']|rejectattr('__class__.x')|list }}",
    # functions of Python's and Jinja2's
    f"{{{{ cycler.__init__.__globals__.os.popen('{RUN}').read() }}}}",
    f"{{{{ joiner.__init__.__globals__.os.popen('{RUN}').read() }}}}",
    f"{{{{ namespace.__init__.__globals__.os.popen('{RUN}').read() }}}}",
    f"{{{{ lipsum.__globals__['os'].popen('{RUN}').read() }}}}",
    f"{{{{ lipsum.__globals__.__builtins__.__import__('os').system('{RUN}') }}}}",
    f"{{{{ self.__init__.__globals__.__builtins__.__import__('os').system('{RUN}') }}}}",
    f"{{{{ self._TemplateReference__context.cycler.__init__.__globals__.os.popen('{RUN}') }}}}",
    f"{{{{ dict.__base__.__subclasses__()[104].load_module('os').system('{RUN}') }}}}",
    f"{{{{ range.__init__.__globals__.os.system('{RUN}') }}}}",
    f"{{{{ url_for.__globals__.os.popen('{RUN}').read() }}}}",
    f"{{{{ get_flashed_messages.__globals__.os.popen('{RUN}').read() }}}}",
    f"{{{{ request.application.__globals__.__builtins__.__import__('os').popen('{RUN}') }}}}",
    f"{{{{ config.__class__.__init__.__globals__['os'].popen('{RUN}').read() }}}}",
    f"{{{{ __import__('os').system('{RUN}') }}}}",
    f"{{{{ eval('__import__(\\'os\\').system(\\'{RUN}\\')') }}}}",
    f"{{{{ exec('import os; os.system(\\'{RUN}\\')') }}}}",
    "{{ open('/etc/passwd').read() }}",
    "{{ range(10**9)|list }}",
    "{{ dict(a=1) }}",
    "{{ lipsum(1000) }}",
    "{{ debug() }}",
    "{% debug %}",
    # formats, CVE-2016-10745, CVE-2019-10906, CVE-2024-56326
    "{{ '{0.__class__}'.format('') }}",
    "{{ '{a.__class__.__mro__}'.format(a='') }}",
    "{{ '{0.__class__}'.format_map({'0': ''}) }}",
    "{{ ''.format.__self__ }}",
    "{{ '%s'|format(''.__class__) }}",
    "{{ ['{0.__class__}']|map('format', '')|list }}",
    "{{ '%(a)s' % {'a': ''.__class__} }}",
    "{{ ('{0.__class__}'|attr('format'))('') }}",
    "{% set f = '{0.__class__}'.format %}{{ f('') }}",
    # CVE-2025-27516: |attr around the sandbox
    "{{ ('{0.__class__}'|attr('for' ~ 'mat'))('') }}",
    # statements
    "{% for c in ''.__class__.__mro__ %}{{ c }}{% endfor %}",
    "{% set x = ''.__class__ %}{{ x }}",
    "{% with x = ''.__class__ %}{{ x }}{% endwith %}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{{ m() }}",
    "{% call(x) m() %}{% endcall %}",
    "{% filter upper %}{{ ''.__class__ }}{% endfilter %}",
    "{% import 'os' as os %}{{ os }}",
    "{% from 'x' import y %}",
    "{% include '/etc/passwd' %}",
    "{% extends '/etc/passwd' %}",
    "{% block x %}{{ self.x }}{% endblock %}",
    "{% if ''.__class__ %}x{% endif %}",
    "{% do [].append(1) %}",
    # CVE-2024-56201, CVE-2024-34064, generators, frames and coroutines
    "{{ (g for g in [1]) }}",
    "{{ [1]|map('upper').gi_frame }}",
    "{{ ([1]|map('upper')).gi_code }}",
    "{{ hostvars.__class__ }}",
    "{{ hostvars._renderer }}",
    "{{ hostvars['bad']._host }}",
    "{{ groups.__class__ }}",
    "{{ inventory_hostname.__class__ }}",
    "{{ hostvars|attr('_hosts') }}",
    "{{ {'a': 1}|xmlattr }}",
    "{{ {}.setdefault('x', 1) }}",
    "{{ [].append(1) }}",
    "{{ {'a': 1}.pop('a') }}",
    "{{ 'x'.encode().hex() }}",
    # Ansible's own
    f"{{{{ lookup('pipe', '{RUN}') }}}}",
    f"{{{{ query('pipe', '{RUN}') }}}}",
    f"{{{{ q('ansible.builtin.pipe', '{RUN}') }}}}",
    "{{ lookup('file', '/etc/passwd') }}",
    "{{ lookup('env', 'HOME') }}",
    "{{ lookup('url', 'http://127.0.0.1:1/') }}",
    "{{ lookup('template', '/etc/passwd') }}",
    "{{ '(a*)*b'|regex_search('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa') }}",
    "{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'|regex_replace('(a*)*b', '') }}",
    "{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' is match('(a*)*b') }}",
    "{{ 'x'|from_yaml }}",
    "{{ '/etc/passwd'|slurp }}",
    "{{ vars }}",
    "{{ vars['ansible_password'] }}",
    "{{ ansible_facts }}",
    "{{ environment }}",
)
SUM = "47569433"
TEMPLATE = "{{ 7919 * 6007 }}"


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _host(name: str, payload: str) -> str:
    return f"all:\n  hosts:\n    {name}: {{ansible_host: '{_quoted(payload)}'}}\n"


def _escape(payload: str) -> Attack:
    return Attack(
        f"escape {payload}",
        "a variable",
        ("run", "-C", "hosts.yml", "-p", "quick.yml"),
        {"hosts.yml": _host("bad", payload)},
        status=(4,),
        message=r"^bad  cannot be audited: inventory  ansible_host in hosts\.yml:3 of “bad” ",
        never="uid=0",
    )


def _expensive(name: str) -> Attack:
    payload, more = TEMPLATES[name]
    text = _host("bad", payload).rstrip().removesuffix("}")
    return Attack(
        f"template {name}",
        "a variable",
        ("run", "-C", "hosts.yml", "-p", "quick.yml"),
        {"hosts.yml": f"{text}{', ' if more else ''}{more}}}\n"},
        status=(4,),
        message=r"^bad  cannot be audited: inventory  .* in hosts\.yml:3 of “bad” ",
    )


PLAYBOOK = f"""
- name: 'play {TEMPLATE}'
  hosts: all
  trials: 1
  families: [ipv4]
  scenarios:
    - name: own
      title: 'title {TEMPLATE}'
      because: 'because {TEMPLATE}'
      fix: 'fix {TEMPLATE}'
      steps: [both connect, peer sends 1 byte, closer closes]
      expect: FIN
"""
WAIVERS = f"""
- finding: 'scenario:own*'
  hosts: all
  owner: 'owner {TEMPLATE}'
  reason: 'reason {TEMPLATE}'
  expiry: 2999-01-01
"""


def _not_rendered() -> Attack:
    return Attack(
        "a template in titles, reasons, notes and waivers",
        "playbook, waivers",
        ("run", "localhost,", "-p", "p.yml", "--waivers", "w.yml", "--format", "html,text,junit"),
        {"p.yml": PLAYBOOK, "w.yml": WAIVERS},
        status=(0, 2, 64, 65),
        started=frozenset({"sh", "id", "python3", "python"}),
        never=SUM,
    )


def attacks() -> list[Attack]:
    """Returns every attack by a template."""
    return [*map(_escape, ESCAPES), *map(_expensive, TEMPLATES), _not_rendered()]
