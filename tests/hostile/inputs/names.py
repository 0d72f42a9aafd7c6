"""Names of hosts, users, files and groups that would be options, and sizes without an end."""

from __future__ import annotations

import json

from .attack import OWNED, Attack

PROXY = f"-oProxyCommand=touch${{IFS}}{OWNED}"
RUN = ("run", "hosts.yml", "-p", "quick.yml", "-T", "2", "--retries", "0")
CLIENTS = ("paramiko", "openssh")
VALUES: dict[str, dict[str, str]] = {
    # what is odd: variables of a host at 127.0.0.1, port 1
    "an address like an option": {"ansible_host": PROXY},
    "an address with a newline": {"ansible_host": f"127.0.0.1\n{PROXY}"},
    "an address with a NUL": {"ansible_host": "127.0.0.1\0x"},
    "an address with a blank": {"ansible_host": f"127.0.0.1 {PROXY}"},
    "an address with a command": {"ansible_host": f"$(touch {OWNED})"},
    "an address with a quote": {"ansible_host": f"';touch {OWNED};'"},
    "an address of 10 MB": {"ansible_host": "a" * 10_000_000},
    "a user like an option": {"ansible_user": PROXY},
    "a user with a newline": {"ansible_user": f"me\n{PROXY}"},
    "a user with a NUL": {"ansible_user": "me\0x"},
    "a user with a command": {"ansible_user": f"`touch {OWNED}`"},
    "a user with an at": {"ansible_user": f"me@x {PROXY}"},
    "a port like an option": {"ansible_port": PROXY},
    "a port of 65536": {"ansible_port": "65536"},
    "a port of -1": {"ansible_port": "-1"},
    "a port of a megabyte": {"ansible_port": "1" * 1_000_000},
    "a key like an option": {"ansible_ssh_private_key_file": PROXY},
    "a key with a blank": {"ansible_ssh_private_key_file": f"k {PROXY}"},
    "a key with a quote": {"ansible_ssh_private_key_file": f'k" -o"{PROXY[2:]}'},
    "a key with a newline": {"ansible_ssh_private_key_file": f"k\n{PROXY}"},
    "a key with a NUL": {"ansible_ssh_private_key_file": "k\0x"},
    "a key with a token": {"ansible_ssh_private_key_file": f"%d/$(touch {OWNED})"},
    "a key of 10 MB": {"ansible_ssh_private_key_file": "k" * 10_000_000},
    "a jump host like an option": {"ansible_ssh_common_args": f"-J '{PROXY}'"},
    "a jump host with a command": {"ansible_ssh_common_args": f"-J '$(touch {OWNED})'"},
    "a jump host with a user": {"ansible_ssh_common_args": f"-J '`touch {OWNED}`@127.0.0.1'"},
    "a jump host to itself": {"ansible_ssh_common_args": "-J 127.0.0.1,127.0.0.1"},
    "a hundred jump hosts": {"ansible_ssh_common_args": "-J " + ",".join(["127.0.0.1:1"] * 100)},
    "an alias with a newline": {"ansible_ssh_common_args": f"'-oHostKeyAlias=a\n{PROXY}'"},
    "a timeout of infinity": {"ansible_timeout": ".inf"},
    "a become user like an option": {"ansible_become": "yes", "ansible_become_user": PROXY},
    "a become user with a command": {
        "ansible_become": "yes",
        "ansible_become_user": f"$(touch {OWNED})",
    },
    "an interpreter with a command": {"ansible_python_interpreter": f"/bin/sh -c 'touch {OWNED}'"},
    "arguments of 10 MB": {"ansible_ssh_common_args": "-o User=" + "a" * 10_000_000},
    "a site of 10 MB": {"fleetaudit_site": "s" * 10_000_000},
}
PLAN = ("run", "-C", "hosts.yml", "-p", "quick.yml")


def _host(variables: dict[str, str], name: str = "web1") -> str:
    """Returns an inventory; JSON is YAML, with every character escaped."""
    usual = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    return json.dumps({"all": {"hosts": {name: usual | variables}}})


def _value(name: str, client: str) -> Attack:
    return Attack(
        f"{name}, {client}",
        "a variable",
        RUN,
        {"hosts.yml": _host({"ansible_connection": client, **VALUES[name]})},
        status=(4, 65),
        message="web1|not audited",
        started=frozenset({"ssh", "ssh -G", "sh", "dash", "bash"}),
    )


def _name(name: str, client: str) -> Attack:
    return Attack(
        f"a host {name!r}, {client}",
        "a name",
        RUN,
        {"hosts.yml": json.dumps({"all": {"hosts": {name: {"ansible_connection": client}}}})},
        status=(4, 65),
        message="not audited|hosts.yml",
        started=frozenset({"ssh", "ssh -G"}),
    )


NAMES = (PROXY, "-h", "--", "-", f"$(touch {OWNED})", f"`touch {OWNED}`", f"a;touch${{IFS}}{OWNED}")

SIZES: dict[str, tuple[str, str, tuple[int, ...]]] = {
    # the inventory, what is printed, statuses
    "host[1:999999999]": ("h[1:999999999]\n", r"hosts:1: ", (65,)),
    "host[1:10**30]": (f"h[1:{10**30}]\n", r"hosts:1: ", (65,)),
    "host[9:1]": ("h[9:1]\n", r"hosts:1: ", (65,)),
    "host[1:9:0]": ("h[1:9:0]\n", r"hosts:1: ", (65,)),
    "host[1:9:-1]": ("h[1:9:-1]\n", r"hosts:1: ", (65,)),
    "host[a:é]": ("h[a:é]\n", r"hosts:1: ", (65,)),
    "host[1:9][1:9]… twenty times": ("h" + "[1:9]" * 20 + "\n", r"hosts:1: ", (65,)),
    "an unclosed range": ("h[1:\n", r"hosts: no host in it", (65,)),
    "a range in a range": ("h[1:[1:9]]\n", r"hosts:1: ", (65,)),
    "a loop of 10,000 groups": (
        "".join(f"[g{n}:children]\ng{(n + 1) % 10_000}\n" for n in range(10_000)),
        r"hosts: no host in it",
        (65,),
    ),
    "100,000 groups": (
        "".join(f"[g{n}]\nh\n" for n in range(100_000)),
        r"hosts:\d+: |\{",
        (0, 65),
    ),
    "100,000 groups of a group": (
        "[a:children]\n" + "".join(f"g{n}\n" for n in range(100_000)) + "[g0]\nh\n",
        r"hosts:\d+: |\{",
        (0, 65),
    ),
    "100,000 variables": (
        "h\n[all:vars]\n" + "".join(f"v{n}=1\n" for n in range(100_000)),
        r"\{",
        (0,),
    ),
    "a variable of 10 MB": (f"h x={'y' * 10_000_000}\n", r"\{", (0,)),
    "a name of 10 MB": ("h" * 10_000_000 + "\n", r"hosts:1: ", (65,)),
    "a million blanks": ("h" + " " * 1_000_000 + "x=1\n", r"\{", (0,)),
    "a million quotes": ("h x=" + "'" * 1_000_000 + "\n", r"hosts:1: |\{", (0, 65)),
    "a million brackets": ("h x=" + "[" * 1_000_000 + "\n", r"hosts:1: |\{", (0, 65)),
    "a product in a value": ("h x='a'*10**9\n", r"hosts:1: |\{", (0, 65)),
    "a power in a value": ("h x=9**9**9\n", r"hosts:1: |\{", (0, 65)),
    "a call in a value": (f"h x=__import__('os').system('touch${{IFS}}{OWNED}')\n", r".", (0, 65)),
    "a section without an end": ("[web\nh\n", r"hosts:1: ", (65,)),
    "a section of nothing": ("[]\nh\n", r"hosts:1: ", (65,)),
    "a section with a bad suffix": ("[web:chidlren]\nh\n", r"hosts:1: ", (65,)),
    "a section of 10 MB": ("[" + "w" * 10_000_000 + "]\nh\n", r"hosts:1: ", (65,)),
    "a variable twice": ("h x=1 x=2\n", r"hosts:1: ", (65,)),
    "a variable without a value": ("h x\n", r"hosts:1: ", (65,)),
    "a variable without a name": ("h =x\n", r"hosts:1: ", (65,)),
    "a carriage return": ("h\rx=1\n", r"hosts:1: |\{", (0, 65)),
    "a form feed": ("h\fx=1\n", r"hosts:1: |\{", (0, 65)),
    "a NUL at the end": ("h\n\0", r"hosts:\d: ", (65,)),
    "an unclosed quotation": ("h x='y\n", r"hosts:1: ", (65,)),
}


def _size(name: str) -> Attack:
    text, message, status = SIZES[name]
    return Attack(
        name,
        "inventory",
        ("inventory", "hosts", "--list"),
        {"hosts": text},
        status=status,
        message=message,
    )


CFG = {
    # ansible.cfg, what is printed, statuses
    "timeout of 10,000 digits": (f"[defaults]\ntimeout = {'9' * 10_000}\n", ".", (0, 65)),
    "forks of infinity": ("[defaults]\nforks = inf\n", r"ansible\.cfg:2: ", (65,)),
    "an interpolation that doubles": (
        "[defaults]\n" + "".join(f"a{n} = %(a{n + 1})s%(a{n + 1})s\n" for n in range(60)),
        r"web1",
        (0,),
    ),
    "a template": (
        "[defaults]\nremote_user = {{ lookup('pipe', 'touch owned') }}\n",
        r"ansible\.cfg:2: ",
        (65,),
    ),
    "a key of 10 MB": (
        f"[defaults]\nremote_user = {'u' * 10_000_000}\n",
        r"ansible\.cfg:2: remote_user is longer",
        (65,),
    ),
    "a vault password that is a program": (
        "[defaults]\nvault_password_file = ./prog\n",
        "a vault password program is not run",
        (78,),
    ),
    "a private key that is an option": (
        f"[defaults]\nprivate_key_file = {PROXY}\n",
        "web1",
        (0,),
    ),
    "no section": ("remote_user = x\n", r"ansible\.cfg:1", (65,)),
    "a section twice, a key twice": ("[defaults]\nforks=1\n[defaults]\nforks=2\n", "web1", (0,)),
    "a NUL": ("[defaults]\nremote_user = a\0b\n", ".", (0, 65)),
}


def _cfg(name: str) -> Attack:
    from .attack import program

    text, message, status = CFG[name]
    return Attack(
        f"ansible.cfg: {name}",
        "ansible.cfg",
        ("run", "-C", "hosts", "-p", "quick.yml"),
        {"hosts": "web1\n", "ansible.cfg": text, "prog": program},
        status=status,
        message=message,
    )


def attacks() -> list[Attack]:
    """Returns every attack by a name or a size."""
    return [
        *(_value(name, client) for client in CLIENTS for name in VALUES),
        *(_name(name, client) for client in CLIENTS for name in NAMES),
        *map(_size, SIZES),
        *map(_cfg, CFG),
    ]
