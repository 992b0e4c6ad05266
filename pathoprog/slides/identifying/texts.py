"""Fields in the texts that scanners write: Aperio's lines, XML of any vendor, and ``key = value`` files.

XML is not parsed: tags are looked for in bounded text, so that text that is cut, or no XML, gives what it holds.
"""

import html
import re
from collections.abc import Iterable, Iterator

from pathoprog.slides.identifying.kinds import IMAGE, TEXT, Finding, kind_of, says_something
from pathoprog.text.plain_text import printable

NAMED_BY = ("name", "k", "key")  # attributes that say what a general element holds
HOLDS = ("value", "v")
MOST_NAME = 60  # characters of a field's name that are told
PICTURE = re.compile(r"label|macro|barcode|slidepreview|slidethumbnail|overview", re.IGNORECASE)
_TAG = re.compile(r"""<([\w:.-]+)((?:\s+[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*/?>([^<]*)""")
_ATTRIBUTE = re.compile(r"""([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_LINE = re.compile(r"^[ \t]*([^=\n\r\[;#]{1,80}?)[ \t]*=[ \t]*([^\n\r]*)", re.MULTILINE)
_TECHNICAL = re.compile(r"\s*(\{\s*\"(shape|axes)\"|ImageJ=|SCILifeLab)")


def text_findings(text: str, where: str) -> list[Finding]:
    """What a description of any vendor holds.

    Args:
        text: of a tag or file.
        where: what to call it.
    """
    text = text.strip(" \0\r\n\t")
    if not text or _TECHNICAL.match(text):
        return []
    if text.startswith("Aperio"):
        return fields(_aperio(text), where)
    if "<" in text and _TAG.search(text):
        return fields(xml_fields(text), where)
    lines = list(ini_fields(text))
    if lines and len(lines) >= 0.5 * len([line for line in text.splitlines() if line.strip()]):
        return fields(lines, where)
    if re.fullmatch(r'"?(label|macro|thumbnail|map|overview)( image)?"?.{0,40}', text, re.IGNORECASE | re.DOTALL):
        return []  # names a picture, which is told by itself
    return [Finding(TEXT, where, text)] if says_something(TEXT, text) else []


def fields(pairs: Iterable[tuple[str, str]], where: str) -> list[Finding]:
    """Findings among (name, value) pairs."""
    found = []
    for name, value in pairs:
        kind = kind_of(name)
        if kind and says_something(kind, value):
            found.append(Finding(kind, f"{where}: {printable(name[:MOST_NAME])}", value.strip()))
    return found


def pictures(pairs: Iterable[tuple[str, str]], where: str) -> list[Finding]:
    """Pictures of the glass that are named among (name, value) pairs: presence only."""
    names = {found[0].lower() for _, value in pairs if len(value) < 100 and (found := PICTURE.search(value))}
    return [Finding(IMAGE, f"{where}: {name}") for name in sorted(names)]


def _aperio(text: str) -> Iterator[tuple[str, str]]:
    """``… |key = value|key = value``; the first part is technical but for what stands behind ``;`` in some versions."""
    for part in text.split("|")[1:]:
        name, _, value = part.partition("=")
        yield name.strip(), value.strip()


def ini_fields(text: str) -> Iterator[tuple[str, str]]:
    """Lines of ``key = value``."""
    for found in _LINE.finditer(text):
        yield found[1], found[2]


def xml_fields(text: str) -> Iterator[tuple[str, str]]:
    """Names and values of attributes and elements; a general element (``<Attribute Name="X">``) by what names it."""
    for tag in _TAG.finditer(text):
        attributes = {
            one[1].rpartition(":")[2]: html.unescape(one[2] if one[2] is not None else one[3])
            for one in _ATTRIBUTE.finditer(tag[2])
        }
        low = {name.lower(): value for name, value in attributes.items()}
        title = next((low[name] for name in NAMED_BY if name in low and len(low[name]) < 200), "")
        content = html.unescape(tag[3]).strip()
        element = tag[1].rpartition(":")[2]
        if title:
            content = content or next((low[name] for name in HOLDS if name in low), "")
            yield title, content
            if element.lower() in ("image", "dataset", "project"):
                yield f"{element} title", title
        elif content:
            yield element, content
        for name, value in attributes.items():
            if value != title:
                yield name, value
