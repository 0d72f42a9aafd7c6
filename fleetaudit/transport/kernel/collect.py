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


def main(wanted: "list[str]") -> None:
    """Imports what is wanted and writes what that loaded; `code` maps paths to compiled modules, in
    base64.
    """
    sys.modules["_hashlib"] = None  # type: ignore[assignment]  # hashlib does without OpenSSL, and that is 5 MB
    for name in wanted:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    code, shared = {}, []
    for name, module in sorted(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if spec is None or not spec.has_location or not spec.origin:
            continue
        if spec.origin.endswith(".py"):
            code[spec.origin + "c"] = _compiled(spec.loader.get_code(name))
        else:
            shared.append(spec.origin)
    # Frozen modules need no file, but getpath.py finds the standard library by its os.pyc.
    library = os.path.dirname(os.path.dirname(sys.modules["encodings"].__file__ or ""))
    for name in (
        "os",
        "site",
        "stat",
        "codecs",
        "io",
        "abc",
        "posixpath",
        "genericpath",
        "_collections_abc",
    ):
        path = os.path.join(library, name + ".py")
        with contextlib.suppress(OSError), open(path, "rb") as f:
            code.setdefault(
                path + "c", _compiled(compile(f.read(), path, "exec", dont_inherit=True))
            )
    folders = [p for p in sys.path if p.endswith("lib-dynload") and os.path.isdir(p)]
    needs = {
        "executable": sys.executable,
        "version": list(sys.version_info[:3]),
        "folders": folders,
        "code": code,
        "shared": sorted(set(shared)),
        "missing": [name for name in wanted if name not in sys.modules],
    }
    json.dump(needs, sys.stdout)


def _compiled(code: "types.CodeType") -> str:
    # A .pyc without a source beside it: magic number, no flags, and a time and size that nobody
    # checks (PEP 552).
    return base64.b64encode(importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)).decode(
        "ascii"
    )


main(sys.argv[1:])
