"""A newcomer's ten tasks, each from the queue, in at most three clicks: the table of docs/page.md, clicked through."""

import re

import pytest
from house import ROOT
from made_browser import Visit, opened_browser
from made_page import LONG

MOST_CLICKS = 3
COUNT = "window.clicks = 0; document.addEventListener('click', event => { if (event.isTrusted) window.clicks++ }, true)"


@pytest.fixture(scope="module")
def seen(made):
    with opened_browser() as browser:
        visit = Visit(browser, made.port)
        visit.log_in(made.tokens["admin"])
        visit.page.evaluate(COUNT)
        yield visit
        visit.close()


def link(page, name, exact=True):
    page.get_by_role("link", name=name, exact=exact).first.click()


def failures(page):
    link(page, "Failed", exact=False)
    page.wait_for_url(re.compile("state=failed"))
    page.get_by_text("truncated: half of it is not there").first.wait_for()


def not_reportable(page):
    link(page, "B")
    page.get_by_text("no 40x score").first.wait_for()


def hot_spot(page):
    link(page, "A")
    page.get_by_text(re.compile(r"x0 1100, y0 1100")).first.wait_for()
    page.get_by_role("button", name=re.compile(r"^Tile 1 at 10x")).click()


def scanner(page):
    link(page, "Over the night")
    page.get_by_role("row", name=re.compile("made, 0.25")).wait_for()


def validated(page):
    link(page, "Bundles")
    link(page, "colon")
    page.get_by_text("Cohort North (external), 300 patients").wait_for()


def unseen(page):
    link(page, "Nobody has seen", exact=False)
    page.wait_for_url(re.compile("unseen"))
    page.get_by_role("row", name=re.compile("not reportable")).first.wait_for()


def patient(page):
    link(page, "P1")
    page.get_by_text("Rule for several slides").first.wait_for()


def urgent(page):
    page.get_by_role("button", name=f"Make urgent: {LONG}").click()
    page.get_by_role("button", name=f"Make routine: {LONG}").wait_for()


def two_bundles(page):
    link(page, "Bundles")
    link(page, "colon")
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("3 of 3 slides").first.wait_for()


def report(page):
    link(page, "A")
    with page.expect_popup() as opened:
        link(page, "Report (HTML)")
    opened.value.get_by_text(re.compile("research use only", re.IGNORECASE)).first.wait_for()
    opened.value.close()


TASKS = {
    "find tonight's failures": failures,
    "why is this slide not reportable": not_reportable,
    "where is the hot spot": hot_spot,
    "which scanner's slides get no class": scanner,
    "is this bundle validated, and on whom": validated,
    "what has nobody seen yet": unseen,
    "what do this patient's slides come to": patient,
    "let this slide go first": urgent,
    "does the candidate agree with the champion": two_bundles,
    "read the report": report,
}


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_task_takes_as_many_clicks_as_the_docs_say(seen, task):
    said = re.search(rf"\| {re.escape(task)} \|.*\| (\d) \|", (ROOT / "docs" / "page.md").read_text(encoding="utf-8"))
    assert said is not None, "docs/page.md lists each task"
    seen.view("queue?hours=0", "truncated")
    seen.page.evaluate("window.clicks = 0")
    TASKS[task](seen.page)
    clicks = seen.page.evaluate("window.clicks")
    assert clicks == int(said.group(1)) <= MOST_CLICKS
