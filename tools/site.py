"""The hook of mkdocs.yml: pages that are made from the program, and files from outside of docs/.

mkdocs builds from docs/ alone. The reference pages are generated when the site is built
(tools/reference.py). Pages of docs/ link to the schemas, the playbooks and the files at the root of
the repository, as GitHub shows them; here these files become part of the site, so that the same
links work there, and `mkdocs build --strict` finds the dead ones.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from tools.reference import ROOT, pages

OUTSIDE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
    "README.md": "readme.md",
    "LICENSE": "license.txt",
    "inventory.yml": "inventory.yml",
    **{
        f"fleetaudit/schema/{p.name}": f"schema/{p.name}"
        for p in sorted((ROOT / "fleetaudit" / "schema").glob("*.json"))
    },
    **{
        f"playbooks/{p.name}": f"playbooks/{p.name}"
        for p in sorted((ROOT / "playbooks").glob("*.yml"))
    },
}
"""Files outside of docs/, by their path in the repository, with their path in the site."""
LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")


LOADED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?(https?:)?//[^>]*>")
"""What a browser would load from elsewhere when it opens a page."""


def on_files(files: Files, config: Any) -> Files:
    """Adds the generated pages and the files from outside of docs/."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    for source, path in OUTSIDE.items():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Rewrites links to files outside of docs/ to where these files are in the site."""
    here = _place_in_repository(page.file.src_uri)

    def rewritten(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link[2]))
        inside = OUTSIDE.get(target) or (
            target.removeprefix("docs/") if here in OUTSIDE and target.startswith("docs/") else None
        )
        if inside is None:
            return link[0]
        relative = posixpath.relpath(inside, posixpath.dirname(page.file.src_uri) or ".")
        return f"{link[1]}{relative}{link[3]}"

    return LINK.sub(rewritten, markdown)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Refuses a page that loads anything from the network."""
    if found := LOADED.search(output):
        raise PluginError(f"{page.file.src_uri} loads from the network: {found[0]}")
    return output


def _place_in_repository(path: str) -> str:
    """Returns where the source of a page is in the repository."""
    sources = {site: source for source, site in OUTSIDE.items()}
    return sources.get(path, f"docs/{path}")
