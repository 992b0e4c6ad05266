"""The page in a browser: every view, by keyboard too, without a complaint of the browser or a barrier."""

import re

import pytest
from made_browser import WAIT_MS, Visit, opened_browser
from made_page import LONG


@pytest.fixture(scope="module")
def browser():
    with opened_browser() as found:
        yield found


@pytest.fixture
def visit(browser, made):
    """Opens windows on the page; each must end without a complaint, and have asked this service alone."""
    opened = []

    def of(role, **how):
        opened.append(Visit(browser, made.port, **how))
        opened[-1].log_in(made.tokens[role])
        return opened[-1]

    yield of
    for one in opened:
        one.close()
    assert not [said for one in opened for said in one.said]
    assert {host for one in opened for host in one.asked} <= {f"127.0.0.1:{made.port}"}


def test_from_log_in_to_a_slide_and_out_again(visit, made):
    seen = visit("evaluator")
    page = seen.page
    assert page.locator(".notice").inner_text().startswith("For research use only")
    states = page.locator("tbody .mark").all_inner_texts()
    assert states[0] == "failed" and "truncated" in page.locator("tbody tr").first.inner_text()
    page.get_by_role("link", name="A", exact=True).click()
    page.get_by_role("heading", name="Slide A", exact=True).wait_for()
    page.locator(".said-uncertain.large").wait_for()
    assert page.locator("svg.ruler .dot").count() == 10 and page.locator("svg.curves").count() == 1
    page.get_by_text("the-evaluator").last.wait_for()
    assert not seen.barriers()
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Your token").wait_for()
    assert made.ask("GET", "/v1/me", role="").status == 401


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1920, "dark")])
def test_every_view_has_no_barrier_and_fits_the_window(visit, made, width, scheme):
    seen = visit("admin", width=width, scheme=scheme)
    for address, until in (
        ("queue", "truncated"),
        ("queue?text=nothing", "No slide fits"),
        (f"slide/{made.A}", "What became of patients"),
        (f"slide/{made.B}", "no 40x score"),
        (f"slide/{made.E}", "truncated"),
        (f"slide/{made.W}", "There is no result yet"),
        ("patient/P1", "Rule for several slides"),
        ("bundles", "Workers ready"),
        ("bundle/colon?with=next", "3 of 3 slides"),
        ("night", "Why there is no class"),
        ("nowhere", "There is no such view"),
    ):
        seen.view(address, until)
        assert not seen.barriers(), address
        overflow = seen.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{address} is wider than {width} px"
        assert seen.page.locator(".notice").first.is_visible()


@pytest.mark.slow
def test_the_queue_changes_as_things_happen_and_keeps_its_filters(visit, made):
    from playwright.sync_api import expect

    seen = visit("operator")
    page = seen.page
    page.get_by_role("link", name="Failed").click()
    page.wait_for_url(re.compile("state=failed"))
    expect(page.locator("tbody tr")).to_have_count(1, timeout=WAIT_MS)
    page.get_by_label("Part of an id").fill("E")
    page.wait_for_url(re.compile("text=E"))
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1, timeout=WAIT_MS)
    assert page.get_by_label("Part of an id").input_value() == "E"
    page.get_by_role("link", name="Clear filters").click()
    made.submit("new-slide")
    page.get_by_role("link", name="new-slide").first.wait_for()
    page.get_by_role("button", name="Call off: new-slide").click()
    page.locator("tr", has_text="new-slide").get_by_text("called off", exact=True).first.wait_for()


@pytest.mark.slow
def test_everything_can_be_reached_by_keyboard(visit, made):
    seen = visit("admin")
    page = seen.page
    page.locator("[data-row]").first.wait_for()
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.textContent").startswith(LONG[:10])
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Slide E").wait_for()
    page.keyboard.press("2")
    page.get_by_role("link", name="colon", exact=True).wait_for()
    page.keyboard.press("3")
    page.get_by_role("heading", name="Over the night").wait_for()
    page.keyboard.press("1")
    page.get_by_label("Part of an id").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("2")
    assert page.get_by_label("Part of an id").input_value() == "2", "while one writes, a letter is a letter"
    page.keyboard.press("Tab")
    page.keyboard.press("?")
    seen.view("queue", "truncated")
    page.locator("main").focus()
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    assert not seen.barriers()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")


@pytest.mark.slow
def test_to_a_viewer_the_page_shows_nothing_of_a_bundle_in_shadow(visit, made):
    seen = visit("viewer")
    page = seen.page
    page.locator("tbody tr").first.wait_for()
    assert "not reportable" not in page.locator("tbody").inner_text()
    seen.view(f"slide/{made.B}", "Its result is not released")
    text = page.locator("main").inner_text()
    assert "40x" not in text and "colon-" not in text and "next" not in text
    seen.view("bundles", "No bundle is released yet")
    seen.view("night", "No class that you may see")
    seen.view("patient/P1", "are not released")


@pytest.mark.slow
def test_release_is_asked_for_and_seen_by_all(visit, made):
    admin = visit("admin")
    admin.view("bundle/colon", "in shadow")
    admin.page.get_by_role("button", name="Release").click()
    admin.page.get_by_role("dialog").get_by_role("button", name="Leave it").click()
    assert made.snapshot.bundles["colon"].released_at == ""
    admin.page.get_by_role("button", name="Release").click()
    admin.page.get_by_role("dialog").get_by_role("button", name="Release").click()
    admin.page.get_by_text("released by the-admin").wait_for()
    viewer = visit("viewer")
    viewer.view(f"slide/{made.A}", "The two resolutions disagree")
    admin.page.get_by_role("button", name="Put into shadow").click()
    admin.page.get_by_role("dialog").get_by_role("button", name="Put into shadow").click()
    admin.page.get_by_text("put into shadow by the-admin").wait_for()
    viewer.page.get_by_text("Its result is not released").wait_for()


@pytest.mark.slow
def test_what_a_slide_is_called_is_never_html(visit, made):
    name = "<img src=x onerror=window.hit=1> ${hit} {slide}"
    submission = made.submit(name)
    seen = visit("admin")
    seen.view("queue?hours=0", name)
    seen.view(f"slide/{submission}", name)
    seen.view(f"patient/{name.replace('/', '')}", name)
    assert seen.page.evaluate("window.hit") is None and seen.page.locator("main img").count() == 0


@pytest.mark.slow
def test_printed_a_slide_is_its_report(visit, made):
    seen = visit("evaluator", scheme="dark")
    seen.view(f"slide/{made.A}", "What became of patients")
    seen.page.locator(".tiles").first.wait_for()
    seen.page.emulate_media(media="print")
    shown = [name for name in ("result", "scores", "survival", "picture", "strongest", "quality", "foot")
             if seen.page.locator(f".panel.{name}").is_visible()]  # fmt: skip
    assert len(shown) == 7
    assert not seen.page.locator(".bar").is_visible() and seen.page.locator("img.still").is_visible()
    tops = [seen.page.locator(f".panel.{name}").bounding_box()["y"] for name in ("result", "scores", "survival")]
    assert tops == sorted(tops)
    assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert seen.page.get_by_text("For research use only").first.is_visible()
