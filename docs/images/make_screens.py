"""Makes the pictures of docs/page.md from the service's demo: `python docs/images/make_screens.py [runs/service]`.

`make serve-demo` must be running, with some slides of the demo scored, and Playwright and Chromium be there.
"""

import json
import shutil
import sys
from io import BytesIO
from pathlib import Path

import yaml
from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
WIDTH_PX, HEIGHT_PX = 1280, 860


def main(folder: Path) -> None:
    """Photograph queue, slide and night as an evaluator sees them."""
    token = json.loads((folder / "demo_tokens.json").read_text(encoding="utf-8"))["evaluator"]
    port = yaml.safe_load((folder / "service.yaml").read_text(encoding="utf-8"))["listen"]["port"]
    origin = f"http://127.0.0.1:{port}"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH_PX, "height": HEIGHT_PX}, color_scheme="light", locale="en-GB")
        page.goto(f"{origin}/")
        page.get_by_label("Your token").fill(token)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Queue").wait_for()
        header = {"Authorization": f"Bearer {token}"}
        done = page.request.get(f"{origin}/v1/submissions?state=done", headers=header).json()["submissions"]
        if not done:
            sys.exit("no slide is scored yet: copy some into the watched folder, as `make serve-demo` says")
        for name, address, until in (
            ("page_queue", "queue", "Slides, failures first"),
            ("page_slide", f"slide/{done[0]['id']}", "Tiles of the highest scores"),
            ("page_night", "night", "By scanner"),
        ):
            page.goto(f"{origin}/page/#/{address}")
            page.get_by_text(until).first.wait_for()
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(1500)  # the viewer fades its tiles in
            with Image.open(BytesIO(page.screenshot())) as shot:
                colours = shot.convert("RGB").quantize(256, dither=Image.Dither.NONE)
            colours.save(HERE / f"{name}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/service"))
