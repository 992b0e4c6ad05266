"""A browser for tests of the page: Debian's Chromium driven by Playwright; tests are left out where one is missing."""

import re
import shutil
from contextlib import contextmanager

import pytest
from house import ROOT

AXE = sorted((ROOT / "tests" / "support" / "axe_core").glob("axe-*.min.js"))
"""Brought by `.ci/axe_core`."""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
EXPECTED = re.compile(
    r"status of (401|403|404|409|503)|Password forms should have|openseadragon\S+ because its MIME type"
)
"""What the browser says of answers that the page expects: nobody is logged in yet, something was withheld meanwhile,
there is no picture, no worker is ready, the viewer is not installed."""
WAIT_MS = 60_000
"""Guard against hanging; a loaded machine takes its time."""


@contextmanager
def opened_browser():
    """The browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """One person's window on the page; `said` is what the browser complained of, `asked` each host it asked.

    Args:
        browser: of `opened_browser`.
        port: of the service, on this machine.
        width: of the window, px.
        scheme: light or dark.
    """

    def __init__(self, browser, port, width=1280, scheme="light"):
        self.origin = f"http://127.0.0.1:{port}"
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, timezone_id="Asia/Tokyo", locale="en-GB"
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.said, self.asked = [], set()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.add(request.url.split("/")[2]))

    def _hear(self, message):
        if message.type in ("error", "warning") and not EXPECTED.search(message.text):
            self.said.append(message.text)

    def log_in(self, token):
        """From the first page to the queue."""
        self.page.goto(f"{self.origin}/")
        self.page.get_by_label("Your token").fill(token)
        self.page.keyboard.press("Enter")
        self.page.get_by_role("heading", name="Queue").wait_for()

    def view(self, address, until):
        """Go to a view, and wait for a text in it."""
        self.page.goto(f"{self.origin}/page/#/{address}")
        self.page.get_by_text(until).first.wait_for()

    def barriers(self):
        """What axe-core finds wrong with what is shown; nothing where axe-core is not there."""
        if not AXE:
            return []
        self.page.evaluate(AXE[-1].read_text(encoding="utf-8"))
        how = {"runOnly": RULES, "resultTypes": ["violations"]}
        found = self.page.evaluate("how => axe.run(document, how)", how)
        return [
            f"{fault['id']}: {fault['help']}: {node['html'][:120]}"
            for fault in found["violations"]
            for node in fault["nodes"]
        ]

    def close(self):
        self.context.close()
