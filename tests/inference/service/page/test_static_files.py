"""The page's files as they lie in the package: words, addresses, what a strict policy forbids, colours' contrast."""

import re

import pytest

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.inference.service.page.static_routes import PAGE_POLICY, STATIC, static_files
from pathoprog.inference.service.work.submissions import STATES
from pathoprog.slide_report.content import MEANINGS
from pathoprog.slide_report.heatmap import _STOPS

SCRIPTS = sorted(path for path in STATIC.rglob("*.js"))
TEXTS = sorted(path for path in STATIC.rglob("*") if path.suffix in (".js", ".css", ".html"))
FORBIDDEN = (
    "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc",
    'setAttribute("style"', "createContextualFragment", "DOMParser",
)  # fmt: skip
WORD = re.compile(r'^\s*"([^"]+)":\s*(?:\n\s*)?"', re.M)


def words():
    text = (STATIC / "words.js").read_text(encoding="utf-8")
    return WORD.findall(text)


def code():
    return "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS if path.name != "words.js")


def used():
    """Keys that stand whole in the code, and the patterns of those that are put together of parts."""
    text = code()
    whole = set(re.findall(r'"([a-z]+(?:\.[\w ]+)+)"', text))
    parts = set(re.findall(r"`([a-z]+\.[^`]*\$\{[^`]*)`", text))
    return whole, [re.compile(re.sub(r"\\\$\\\{.*?\\\}", r"[\\w ]+", re.escape(pattern))) for pattern in parts]


def test_each_word_that_is_said_is_there_and_each_that_is_there_is_said():
    there = words()
    assert len(there) > 200 and len(there) == len(set(there)), "a word stands twice"
    whole, parts = used()
    prefixes = {key.split(".")[0] for key in there}
    said = {key for key in whole if key.split(".")[0] in prefixes and not key.endswith((".js", ".css"))}
    assert not said - set(there), "no such words"
    unused = [key for key in there if key not in whole and not any(part.fullmatch(key) for part in parts)]
    assert not unused, "nobody says these"


def test_what_is_put_together_has_its_words():
    there = set(words())
    assert {f"state.{state}" for state in STATES} <= there
    assert {f"said.{said}" for said in MEANINGS} <= there
    assert {f"slide.verdict.{one}" for one in ("pass", "warn", "fail", "not checked")} <= there
    assert {f"patient.rule.{rule}" for rule in ("bag", "mean", "max")} <= there


def test_the_notice_is_the_project_s_and_stands_in_the_frame():
    text = (STATIC / "words.js").read_text(encoding="utf-8")
    assert f'"app.notice": "{RESEARCH_USE_ONLY}"' in text
    for name in ("app.js", "views/login.js"):
        assert "noticed(" in (STATIC / name).read_text(encoding="utf-8")
    assert RESEARCH_USE_ONLY in (STATIC / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_a_file_writes_no_html_and_names_no_other_host(path):
    text = path.read_text(encoding="utf-8")
    assert not [word for word in FORBIDDEN if word in text]
    addresses = [found for found in re.findall(r"""https?://[^\s"'`)]+""", text) if "www.w3.org" not in found]
    assert not addresses, "an address of another host"
    assert not re.search(r"""["'(]//\w""", text) and "@import" not in text
    if path.suffix == ".html":
        assert not re.search(r"""\son\w+\s*=|\sstyle\s*=|<style|javascript:""", text)
        assert not re.search(r"<script(?![^>]*\ssrc=)", text)


def test_all_that_the_page_loads_lies_beside_it():
    served = static_files()
    index = served["index.html"].data.decode()
    for target in re.findall(r"""(?:src|href)="([^"]+)\"""", index):
        assert target.removeprefix("/page/static/") in served, target
    for path in SCRIPTS:
        for target in re.findall(r"""(?:from|import\()\s*"(\.[^"]+)\"""", path.read_text(encoding="utf-8")):
            found = (path.parent / target).resolve()
            assert found.is_file() and found.is_relative_to(STATIC.resolve()), f"{path.name} imports {target}"


def test_the_policy_lets_nothing_in_but_the_page_s_own():
    rules = dict(rule.strip().split(" ", 1) for rule in PAGE_POLICY.split(";"))
    assert rules["default-src"] == "'none'" and rules["script-src"] == rules["style-src"] == "'self'"
    assert "unsafe" not in PAGE_POLICY and "http" not in PAGE_POLICY and rules["frame-ancestors"] == "'none'"


def test_the_map_s_colours_are_the_report_s():
    text = (STATIC / "scale.js").read_text(encoding="utf-8")
    stops = [[int(n) for n in found] for found in re.findall(r"\[(\d+), (\d+), (\d+)\]", text)]
    assert stops == _STOPS.astype(int).tolist()


def luminance(colour):
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def themes():
    text = (STATIC / "page.css").read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^|\n)\s*(:root[^{]*)\{([^}]*--page[^}]*)\}", text)
    return [dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", block)) for _, block in blocks]


def test_letters_are_told_from_their_ground_in_light_and_dark():
    light, dark, system_dark = themes()
    assert dark == system_dark and light != dark
    on_grounds = ("ink", "soft", "accent", "good", "uncertain", "poor", "not-reportable", "failed", "running", "ok",
                  "warn", "bad")  # fmt: skip
    for theme in (light, dark):
        for ground in ("page", "panel", "sunk"):
            for letters in on_grounds:
                assert contrast(theme[letters], theme[ground]) >= 4.5, f"{letters} on {ground}"
            assert contrast(theme["focus"], theme[ground]) >= 3
        assert contrast(theme["on-accent"], theme["accent"]) >= 4.5
        assert contrast(theme["on-notice"], theme["notice"]) >= 4.5


def test_scripts_stay_short():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in SCRIPTS}
    assert not {name: n for name, n in lengths.items() if n > 500}
