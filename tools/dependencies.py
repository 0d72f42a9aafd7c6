"""Checks what is installed with fleetaudit: its list, its licences, and known vulnerabilities.

    python -m tools.dependencies

Prints each package with its licence. The exit status is 1 if requirements/sbom.cdx.json is not that
of the lock, if a licence is not in `ACCEPTED`, or if pip-audit knows a vulnerability. Where no
database of vulnerabilities answers, it says so: that is not the same as "none known".
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from .sbom import LOCK, SBOM, locked, normal, version

ACCEPTED = {
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "LGPL-2.1",  # paramiko: a library, installed as its authors release it
    "MIT",
    "MIT-0",
    "PSF-2.0",
    "Apache Software License",  # bcrypt and PyNaCl say it twice, once as a classifier
    "BSD License",  # Jinja2: BSD-3-Clause, by its licence file
}
"""SPDX identifiers, and names of classifiers where a package has no identifier."""

Json = dict[str, Any]


def main() -> int:
    """Prints the packages and what is wrong; returns the exit status."""
    sbom = json.loads(SBOM.read_text("utf-8"))
    for component in sbom["components"]:
        print(f"{component['name']} {component['version']}: {', '.join(licences(component))}")
    wrong = [*differences(sbom), *refused(sbom), *vulnerabilities()]
    for line in wrong:
        print(f"dependencies: {line}", file=sys.stderr)
    return int(bool(wrong))


def licences(component: Json) -> list[str]:
    """Returns the licences of a component: identifiers, expressions or names of classifiers."""
    found = []
    for one in component.get("licenses", ()):
        licence = one.get("license", {})
        name = one.get("expression") or licence.get("id") or licence.get("name", "")
        found.append(name.rpartition(":: ")[2])
    return found


def refused(sbom: Json) -> list[str]:
    """Returns the components that have no licence, or one that nobody has accepted yet."""
    return [
        f"{component['name']} has the licence {licences(component) or 'of nobody knows what'}: "
        "read it, then add it to ACCEPTED in tools/dependencies.py"
        for component in sbom["components"]
        if not accepted(component)
    ]


def accepted(component: Json) -> bool:
    """Whether every licence is accepted; of "A OR B", one is enough."""
    found = licences(component)
    return bool(found) and all(_accepted(licence) for licence in found)


def _accepted(expression: str) -> bool:
    choices = expression.split(" OR ")
    return any(set(choice.split(" AND ")) <= ACCEPTED for choice in choices)


def differences(sbom: Json) -> list[str]:
    """Returns how the SBOM differs from the lock: each needs `make lock`."""
    listed = {(normal(one["name"]), one["version"]): _hashes(one) for one in sbom["components"]}
    if listed == locked() and sbom["metadata"]["component"]["version"] == version():
        return []
    return [f"{SBOM.name} is not that of {LOCK.name} and of version {version()}: make lock"]


def _hashes(component: Json) -> list[str]:
    (files,) = (one for one in component["externalReferences"] if one["type"] == "distribution")
    return [digest["content"] for digest in files["hashes"]]


def vulnerabilities() -> list[str]:
    """Returns the known vulnerabilities of the lock; says so if no database answers.

    pip-audit succeeds, too, if its database knows none of the packages: it "skips" them.
    """
    command = (sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--require-hashes")
    options = ("--disable-pip", "--progress-spinner", "off", "--timeout", "15", "--format", "json")
    done = subprocess.run((*command, *options), capture_output=True, text=True, check=False)
    if not done.stdout.startswith("{"):
        reason = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        return _not_asked(f"pip-audit could not ask its database: {reason[:200]}")
    audited = json.loads(done.stdout)["dependencies"]
    skipped = [one["name"] for one in audited if "skip_reason" in one]
    if len(skipped) == len(audited):
        return _not_asked("the package index that is used here has no list of vulnerabilities")
    known = [
        f"{one['name']} {one['version']}: {', '.join(found['id'] for found in one['vulns'])}"
        for one in audited
        if one.get("vulns")
    ]
    return [*known, *(f"{name}: not in the database of vulnerabilities" for name in skipped)]


def _not_asked(reason: str) -> list[str]:
    print(f"vulnerabilities: NOT CHECKED: {reason}")
    return []


if __name__ == "__main__":
    sys.exit(main())
