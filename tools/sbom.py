"""Writes requirements/sbom.cdx.json: what is installed with fleetaudit, as CycloneDX has it.

    python -m tools.sbom

Installs the lock of the package into an environment of its own, lets cyclonedx-py describe that,
and adds what only the lock and pyproject.toml know: the hashes, and what fleetaudit itself needs.
The file is part of the wheel (PEP 770) and says the same each time: no date, no random number.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements" / "run.txt"
SBOM = ROOT / "requirements" / "sbom.cdx.json"
KEPT = {"vcs", "website"}
"""The kinds of addresses that are kept of a package: others change with each release."""

Json = dict[str, Any]


def locked() -> dict[tuple[str, str], list[str]]:
    """Returns the SHA-256 hashes in the lock, by name (lower case, with "-") and version."""
    hashes = dict[tuple[str, str], list[str]]()
    for line in LOCK.read_text("utf-8").splitlines():
        if pin := re.match(r"([\w.-]+)==(\S+)", line):
            here = hashes.setdefault((normal(pin[1]), pin[2]), [])
        elif digest := re.search(r"--hash=sha256:([0-9a-f]{64})", line):
            here.append(digest[1])
    return hashes


def normal(name: str) -> str:
    """Returns the name of a project as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    """Returns the names of the packages that fleetaudit itself asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = (re.match(r"[\w.-]+", line) for line in project["dependencies"])
    return {normal(name[0]) for name in names if name}


def version() -> str:
    """Returns the version of fleetaudit in this checkout."""
    text = (ROOT / "fleetaudit" / "__init__.py").read_text("utf-8")
    found = re.search(r'^__version__ = "(.+)"', text, re.MULTILINE)
    if not found:
        raise ValueError("fleetaudit/__init__.py has no __version__")
    return found[1]


def describe() -> Json:
    """Returns what cyclonedx-py says of an environment that has the lock and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=False)
        python = f"{folder}/bin/python"
        _run("pip", "--python", python, "install", "--quiet", "--require-hashes", "-r", str(LOCK))
        options = ("--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible")
        return dict(json.loads(_run("cyclonedx_py", "environment", *options, python)))


def _run(module: str, *arguments: str) -> str:
    command = (sys.executable, "-m", module, *arguments)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def complete(sbom: Json) -> Json:
    """Adds the version and the needs of fleetaudit, and the hashes of what it needs."""
    root = sbom["metadata"]["component"]
    root["version"] = version()
    hashes = locked()
    for component in sbom["components"]:
        _add_hashes(component, hashes[normal(component["name"]), component["version"]])
    refs = {normal(component["name"]): component["bom-ref"] for component in sbom["components"]}
    needs = sorted(refs[name] for name in declared())
    others = [entry for entry in sbom["dependencies"] if entry["ref"] != root["bom-ref"]]
    sbom["dependencies"] = [*others, {"ref": root["bom-ref"], "dependsOn": needs}]
    for tool in sbom["metadata"]["tools"]["components"]:
        tool.pop("externalReferences", None)
    return sbom


def _add_hashes(component: Json, digests: list[str]) -> None:
    """Names the files of this version, any of which may be the one that is installed."""
    kept = [one for one in component.get("externalReferences", ()) if one["type"] in KEPT]
    files = {
        "type": "distribution",
        "url": component["purl"],
        "comment": "the files that the lock allows",
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in digests],
    }
    component["externalReferences"] = [*kept, files]


def main() -> None:
    """Writes the file."""
    text = json.dumps(complete(describe()), indent=1, sort_keys=True, ensure_ascii=False)
    SBOM.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
