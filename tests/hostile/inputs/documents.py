"""Documents that explode, that want to run code, or that are not what they seem."""

from __future__ import annotations

from collections.abc import Mapping

from tests.commands.test_hostile_inventories import FILES, aliases

from .attack import OWNED, Attack, Content

RUN = f"touch {OWNED}"
DOCUMENTS: dict[str, str | bytes] = {
    "a billion laughs": aliases(12),
    "a quadratic bomb": f"s: &s {'x' * 1_000_000}\nl: [{', '.join(['*s'] * 100_000)}]\n",
    "merge keys that multiply": f"b: &b {{{', '.join(f'k{n}: 0' for n in range(5000))}}}\n"
    + "".join(f"m{n}: {{<<: [{', '.join(['*b'] * 100)}]}}\n" for n in range(50)),
    "an alias of itself": "a: &a [*a]\n",
    "a merge of itself": "a: &a {<<: *a}\n",
    "flow lists 10,000 deep": "a: " + "[" * 10_000 + "]" * 10_000,
    "blocks 10,000 deep": "- " * 10_000 + "a",
    "mappings 10,000 deep": "{a: " * 10_000,
    "a question mark 10,000 deep": "? " * 10_000 + "a",
    "a scalar of 20 MB": f"a: {'x' * 20_000_000}\n",
    "a key of 2 MB": f"? {'x' * 2_000_000}\n: 1\n",
    "a file of 70 MB": b"# " + b"x" * 70_000_000,
    "a number of sixties": f"a: 1{':00' * 300_000}\n",
    "a number in hex": f"a: 0x{'f' * 10_000}\n",
    "a number of 10,000 digits": f"a: {'9' * 10_000}\n",
    "a float of 10,000 digits": f"a: 1.{'9' * 10_000}e99999\n",
    "python/object/apply": f"a: !!python/object/apply:os.system ['{RUN}']\n",
    "python/object/new": f"a: !!python/object/new:os.system ['{RUN}']\n",
    "python/module": "a: !!python/module:os\n",
    "python/name": "a: !!python/name:os.system\n",
    "python/tuple": "a: !!python/tuple [1]\n",
    "a tag of Ruby": "a: !ruby/object:Gem::Installer {i: x}\n",
    "a tag of Java": 'a: !!javax.script.ScriptEngineManager [["http://127.0.0.1:1/"]]\n',
    "a tag that is a directive": f"%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!name:os.{RUN}\n",
    "a vault of garbage": "a: !vault garbage\n",
    "a vault of a list": "a: !vault [1]\n",
    "an unsafe mapping": "a: !unsafe {b: c}\n",
    "a timestamp of the year 0": "a: 0000-00-00\n",
    "a set": "a: !!set {b, c}\n",
    "binary garbage": "a: !!binary '###'\n",
    "a list of pairs": "a: !!omap [b]\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "a directive of another version": "%YAML 9.9\n---\na: 1\n",
    "UTF-16": "a: 1\n".encode("utf-16"),
    "UTF-16 without a mark": "a: 1\n".encode("utf-16-le"),
    "UTF-32": "a: 1\n".encode("utf-32"),
    "invalid UTF-8": b"a: caf\xe9\n",
    "a surrogate in UTF-8": b"a: \xed\xa0\x80\n",
    "an overlong NUL": b"a: \xc0\x80\n",
    "a NUL": "a: b\0c\n",
    "an escaped NUL": 'a: "b\\0c"\n',
    "an escape sequence": 'a: "\\e[2J"\n',
    "a mark alone": b"\xef\xbb\xbf",
    "an escaped newline in a key": '"a\\nb": 1\n',
    "nothing": "",
    "JSON 100,000 deep": "[" * 100_000 + "]" * 100_000,
    "JSON with NaN": '{"a": NaN, "b": 1e400}',
    "a key twice": "a: 1\na: 2\n",
    "a key of a list": "? [a, b]\n: 1\n",
    "a tab": "a:\n\t- b\n",
    "half of a flow": "a: [b, {c\n",
}
PLACES: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    # the file, the command line, the environment
    "inventory": ("bad.yml", ("inventory", "bad.yml", "--list"), {}),
    "group_vars": ("group_vars/all.yml", ("inventory", "hosts", "--list"), {}),
    "playbook": ("bad.yml", ("run", "-C", "hosts", "-p", "bad.yml"), {}),
    "waivers": ("bad.yml", ("run", "hosts", "-p", "quick.yml", "--waivers", "bad.yml"), {}),
    "configuration": (
        "bad.yml",
        ("inventory", "hosts", "--list"),
        {"FLEETAUDIT_CONFIG": "bad.yml"},
    ),
    "ansible.cfg": ("ansible.cfg", ("inventory", "hosts", "--list"), {}),
}
EVERYWHERE = ("inventory", "playbook", "waivers")
"""The places of every document; the others have every third, because they share a reader."""
_SOME = [*DOCUMENTS][::3]


def _document(name: str, where: str) -> Attack:
    file, arguments, environment = PLACES[where]
    files: Mapping[str, Content] = {"hosts": "web1\n", file: DOCUMENTS[name]}
    return Attack(
        f"{name} as {where}",
        where,
        arguments,
        files,
        status=(0, 65, 66, 78),
        message=rf"(?s){file}|\A\{{",
        environment=environment,
        never="uid=0",
    )


def _inventory(name: str) -> Attack:
    file, content, message = FILES[name]
    is_beside = file.startswith("group_vars")
    return Attack(
        f"inventory: {name}",
        "inventory",
        ("inventory", "hosts" if is_beside else file, "--list"),
        {file: content, **({"hosts": "a\n"} if is_beside else {})},
        message=message,
    )


WAIVERS = {
    "the year 9999": ("expiry: 9999-12-31", (4,)),
    "the year 10000": ("expiry: 10000-01-01", (65,)),
    "a negative year": ("expiry: -1-01-01", (65,)),
    "the year 0": ("expiry: 0000-01-01", (65,)),
    "the 31st of February": ("expiry: 2027-02-31", (65,)),
    "a number": ("expiry: 20270131", (65,)),
    "a huge number": (f"expiry: {'9' * 400}", (65,)),
    "infinity": ("expiry: .inf", (65,)),
    "a time with a zone": ("expiry: 2027-01-31T00:00:00+99:99", (65,)),
    "a list": ("expiry: [2027-01-31]", (65,)),
    "nothing": ("expiry:", (65,)),
    "text with an escape": ('expiry: "2027-01-31\\e[2J"', (65,)),
}


def _waiver(name: str) -> Attack:
    line, status = WAIVERS[name]
    text = f"- finding: 'sysctl:*'\n  hosts: all\n  owner: a\n  reason: b\n  {line}\n"
    return Attack(
        f"a waiver until {name}",
        "waivers",
        ("run", "hosts", "-p", "quick.yml", "--waivers", "w.yml", "-T", "2", "--retries", "0"),
        {"hosts": "web1 ansible_host=127.0.0.1 ansible_port=1\n", "w.yml": text},
        status=status,
        message="" if status == (4,) else r"w\.yml:5",
    )


def attacks() -> list[Attack]:
    """Returns every attack by a document."""
    return [
        *(_document(name, where) for where in EVERYWHERE for name in DOCUMENTS),
        *(_document(name, where) for where in PLACES if where not in EVERYWHERE for name in _SOME),
        *map(_inventory, FILES),
        *map(_waiver, WAIVERS),
    ]
