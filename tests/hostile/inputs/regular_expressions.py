"""Regular expressions that never end, in every place that takes one."""

from __future__ import annotations

from .attack import Attack, Content

LONG = "a" * 60
ENDLESS = ("~(a*)*b", "~(a+)+$", "~(a|aa)+$", "~(.*a){25}b", "~^(a+)+b", "~((a*?)*?)*?b")
HOSTS = (
    f"web1 ansible_host=127.0.0.1 ansible_port=1\n{LONG}! ansible_host=127.0.0.1 ansible_port=1\n"
)
STARS = "*a" * 150 + "*b"
TOO_LONG = "is not a host pattern: it takes too long to match"


def _play(pattern: str) -> str:
    return f"- name: one\n  hosts: '{pattern}'\n  sysctls: {{collect: [net.ipv4.tcp_rfc1337]}}\n"


def _waiver(hosts: str, finding: str = "sysctl:*") -> str:
    return (
        f"- {{finding: '{finding}', hosts: '{hosts}', owner: a, reason: b, expiry: 2999-01-01}}\n"
    )


def _limit(pattern: str) -> Attack:
    return Attack(
        f"{pattern} as a limit",
        "-l",
        ("inventory", "hosts", "--list-hosts", "-l", pattern),
        {"hosts": HOSTS},
        message=TOO_LONG,
    )


def _endless(pattern: str) -> list[Attack]:
    """Returns the attacks by one expression in the other places."""
    hosts: dict[str, Content] = {"hosts": HOSTS}
    return [
        Attack(
            f"{pattern} as an exclusion",
            "-l",
            ("inventory", "hosts", "--list-hosts", "-l", f"all,!{pattern}"),
            hosts,
            message=TOO_LONG,
        ),
        Attack(
            f"{pattern} in hosts:",
            "playbook",
            ("run", "-C", "hosts", "-p", "p.yml"),
            hosts | {"p.yml": _play(pattern)},
            message=rf"p\.yml:2: .*{TOO_LONG}",
        ),
        Attack(
            f"{pattern} in waivers",
            "waivers",
            ("run", "hosts", "-p", "quick.yml", "--waivers", "w.yml"),
            hosts | {"w.yml": _waiver(pattern)},
            message=rf"w\.yml:1: .*{TOO_LONG}",
        ),
        Attack(
            f"{pattern} in a file of patterns",
            "-l @file",
            ("inventory", "hosts", "--list-hosts", "-l", "@limit"),
            hosts | {"limit": f"web1\n{pattern}\n"},
            message=TOO_LONG,
        ),
        Attack(
            f"{pattern} in matches:",
            "playbook",
            ("run", "-C", "hosts", "-p", "p.yml"),
            hosts
            | {
                "p.yml": "- name: one\n  hosts: all\n  sysctls:\n    expect:\n"
                f"      net.ipv4.tcp_rfc1337: {{matches: '{pattern[1:]}'}}\n"
            },
            message=r"p\.yml:5:\d+: ",
        ),
        Attack(
            f"{pattern} in ansible.cfg",
            "ansible.cfg",
            ("inventory", "folder", "--list-hosts"),
            {
                f"folder/{LONG}!": "web1\n",
                "ansible.cfg": f"[inventory]\nignore_patterns = {pattern[1:]}\n",
            },
            message=r"ansible\.cfg:2: ",
        ),
    ]


def attacks() -> list[Attack]:
    """Returns every attack by a regular expression."""
    found = [*map(_limit, ENDLESS), *_endless(ENDLESS[0])]
    many = "".join(f"web{n}.example.com\n" for n in range(10_000))
    slow = "".join(_play(f"~web(1|11|1*)*x{n}") for n in range(100))
    return [
        *found,
        Attack(
            "150 stars in a waiver",
            "waivers",
            ("run", "hosts", "-p", "quick.yml", "--waivers", "w.yml", "-T", "2", "--retries", "0"),
            {"hosts": HOSTS, "w.yml": _waiver("all", f"sysctl:{STARS}")},
            status=(4,),
        ),
        Attack(
            "150 stars as a limit",
            "-l",
            ("inventory", "hosts", "--list-hosts", "-l", STARS),
            {"hosts": "a" * 1000 + "\n"},
            status=(66,),
            message="matches no host",
        ),
        Attack(
            "150 stars in known_hosts and ssh_config",
            "known_hosts, ssh_config",
            ("run", "hosts", "-p", "quick.yml", "--known-hosts", "kh", "-T", "2", "--retries", "0"),
            {
                "hosts": f"{'a' * 250} ansible_host=127.0.0.1 ansible_port=1"
                " ansible_ssh_args='-F c'\n",
                "kh": f"{STARS} ssh-ed25519 AAAA\n",
                "c": f"Host {STARS}\n  User x\n",
            },
            status=(4,),
            started=frozenset({"ssh -G"}),
        ),
        Attack(
            "100 plays with slow patterns for 10,000 hosts",
            "playbook",
            ("run", "-C", "hosts", "-p", "p.yml"),
            {"hosts": many, "p.yml": slow},
            status=(65, 66),
            message=r"p\.yml:\d+: |matches no host",
        ),
        Attack(
            "100 patterns for 10,000 hosts",
            "-l",
            (
                "inventory",
                "hosts",
                "--list-hosts",
                "-l",
                ",".join(f"~.*[0-9]*{n}\\." for n in range(100)),
            ),
            {"hosts": many},
            status=(0,),
            message=r"^web9999\.example\.com$",
        ),
        Attack(
            "5,000 parentheses",
            "-l",
            ("inventory", "hosts", "--list-hosts", "-l", "~" + "(" * 5000 + ")" * 5000),
            {"hosts": HOSTS},
            message="nested too deeply",
        ),
        Attack(
            "a repetition of 99999999999",
            "-l",
            ("inventory", "hosts", "--list-hosts", "-l", "~a{99999999999}"),
            {"hosts": HOSTS},
            message="not a regular expression",
        ),
    ]
