"""The page on a service as a real process: slides come, are scored and shown, with the picture of the slide itself."""

import pytest
from made_browser import WAIT_MS, Visit, opened_browser

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    with opened_browser() as found:
        yield found


def test_slides_come_are_scored_and_looked_at(service, browser):
    from playwright.sync_api import expect

    seen = Visit(browser, service.port, width=1920)
    page = seen.page
    seen.log_in(service.tokens["admin"])
    page.get_by_text("No slide").wait_for()
    ids = service.listed()
    submissions = {name: service.submit(ids[name]).json["id"] for name in ("A.tif", "C.tif", "E.tif")}
    page.get_by_role("link", name="E", exact=True).first.wait_for()
    for one in submissions.values():
        service.ended(one)
    marks = page.locator("tbody tr td:first-child .mark")
    expect(marks).to_have_text(["failed", "not reportable", "done"], timeout=WAIT_MS)
    page.get_by_role("link", name="A", exact=True).first.click()
    page.get_by_role("heading", name="Slide A", exact=True).wait_for()
    page.locator(".said .large").wait_for()
    pictures = page.locator(".tile img")
    pictures.first.wait_for()
    pictures.first.scroll_into_view_if_needed()
    pictures.first.evaluate("image => image.complete || new Promise(done => image.addEventListener('load', done))")
    assert pictures.first.evaluate("image => image.naturalWidth") > 0
    if service.ask("GET", "/page/openseadragon/openseadragon.min.js", role="").status == 200:
        page.get_by_text("10x tile score").wait_for()
        page.get_by_label("40x tile score").check()
        page.get_by_label("Smooth").check()
        page.locator(".tile").last.click()
        assert page.locator(".vw-viewer canvas").count() > 0
    assert not seen.barriers()
    failed = submissions["E.tif"]
    seen.view(f"slide/{failed}", "could not be read or scored")
    page.get_by_role("button", name="Try again: E").click()
    service.ended(failed)
    page.locator(".said-failed.large").wait_for()
    log = (service.state / "audit.jsonl").read_text(encoding="utf-8")
    assert '"seen":true' in log and log.count('"action":"requeue"') == 1
    seen.close()
    assert not seen.said and seen.asked <= {f"127.0.0.1:{service.port}"}
