"""Prints what a Python interpreter needs to run elsewhere: itself and the modules that it loads,
compiled, as JSON.

Rules: run by the interpreter that is to be packed (`python -I -S -B -c TEXT MODULE…`), and read as
text; the package never imports it. Standard library only. A module that cannot be imported is left
out: the program guards its imports.
"""

# What this file imports, the guest gets: no pathlib.
# ruff: noqa: PTH112, PTH118, PTH120, PTH123
import base64
import contextlib
import importlib.util
import json
import marshal
import os
import sys
import types

# Frozen modules need no file, but getpath.py finds the standard library by its os.pyc.
FROZEN = (
    "os", "site", "stat", "codecs", "io", "abc", "posixpath", "genericpath", "_collections_abc",
)  # fmt: skip


def main(names: "list[str]") -> None:
    """Imports these modules and writes what that loaded; `code` maps paths to compiled modules, in
    base64.
    """
    # hashlib does without OpenSSL, which has 5 MB.
    sys.modules["_hashlib"] = None  # type: ignore[assignment]
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    code, shared = loaded_modules()
    for path, compiled in frozen_modules().items():
        code.setdefault(path, compiled)
    folders = [p for p in sys.path if p.endswith("lib-dynload") and os.path.isdir(p)]
    needs = {
        "executable": sys.executable,
        "version": list(sys.version_info[:3]),
        "folders": folders,
        "code": code,
        "shared": sorted(shared),
        "missing": [name for name in names if name not in sys.modules],
    }
    json.dump(needs, sys.stdout)


def loaded_modules() -> "tuple[dict[str, str], set[str]]":
    """Returns the code of the modules that are loaded, by path, and the paths of shared
    libraries.
    """
    code, shared = {}, set()
    for name, module in sorted(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if spec is None or not spec.has_location or not spec.origin:
            continue
        if spec.origin.endswith(".py"):
            code[spec.origin + "c"] = compiled(spec.loader.get_code(name))
        else:
            shared.add(spec.origin)
    return code, shared


def frozen_modules() -> "dict[str, str]":
    """Returns the code of the modules in FROZEN, by path."""
    library = os.path.dirname(os.path.dirname(sys.modules["encodings"].__file__ or ""))
    code = {}
    for name in FROZEN:
        path = os.path.join(library, name + ".py")
        with contextlib.suppress(OSError), open(path, "rb") as f:
            code[path + "c"] = compiled(compile(f.read(), path, "exec", dont_inherit=True))
    return code


def compiled(code: "types.CodeType") -> str:
    """Returns a .pyc in base64: magic number, no flags, a time and size that nobody checks (PEP
    552).
    """
    head = importlib.util.MAGIC_NUMBER + bytes(12)
    return base64.b64encode(head + marshal.dumps(code)).decode("ascii")


main(sys.argv[1:])
