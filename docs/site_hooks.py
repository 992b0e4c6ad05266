"""MkDocs hooks: the repository's own documents become pages; links out of docs/ lead there, or become plain text."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "project/readme.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
}
"""A document at the repository's root, and the page that it becomes."""

SHIM = '<script src="https://unpkg.com/iframe-worker/shim"></script>'
"""What the theme's offline plugin would load from the network; ours is docs/javascripts/search_from_folder.js."""

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the repository's own documents to the site's."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Mend a page's links: what lies in the repository and not on the site is named, and not linked."""
    uri = page.file.src_uri
    origin = next((name for name, target in PAGES.items() if target == uri), f"docs/{uri}")

    def mended(match: re.Match[str]) -> str:
        image, text, target = match.groups()
        if "://" in target or target.startswith(("#", "mailto:")):
            return match[0]
        path, mark, anchor = target.partition("#")
        place = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
        if place in PAGES:
            there = PAGES[place]
        elif place.startswith("docs/") and Path(ROOT / place).is_file():
            there = place.removeprefix("docs/")
        elif (ROOT / place).exists():
            return text
        else:
            return match[0]  # a broken link: the strict build refuses it
        return f"{image}[{text}]({posixpath.relpath(there, posixpath.dirname(uri) or '.')}{mark}{anchor})"

    parts = re.split(r"(```.*?```)", markdown, flags=re.DOTALL)  # code is left as it is
    return "".join(part if part.startswith("```") else _LINK.sub(mended, part) for part in parts)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Put our own script in the place of the one from the network."""
    ours = posixpath.relpath("javascripts/search_from_folder.js", posixpath.dirname(page.url) or ".")
    return output.replace(SHIM, f'<script src="{ours}"></script>')


def on_post_template(output_content: str, template_name: str, config: Any) -> str:
    """The page that says "not found" needs none."""
    return output_content.replace(SHIM, "")
