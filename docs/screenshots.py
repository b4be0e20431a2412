"""Take the README's screenshot of a run: `make run`, then `python docs/screenshots.py`. Needs chromium."""

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
PAGES = {"report": "reports/index.html"}
# 256 colours keep a page with figures below 200 kB.
COLOURS = 256


def main() -> None:
    """Write docs/screenshots/NAME.png for each page that exists."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("error: chromium is missing; apt-get install chromium")
    folder = ROOT / "docs" / "screenshots"
    folder.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        # Chromium's sandbox does not work for root, the user in containers; these are our own pages.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 860})
        for name, path in PAGES.items():
            page.goto((ROOT / path).as_uri())
            page.screenshot(path=folder / f"{name}.png")
            Image.open(folder / f"{name}.png").convert("RGB").quantize(COLOURS).save(
                folder / f"{name}.png", optimize=True
            )
        browser.close()


if __name__ == "__main__":
    main()
