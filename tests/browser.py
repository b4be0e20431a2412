"""Pages as a browser shows them: Debian's Chromium without a window, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Where CI may pick them up; git ignores the folder.
SCREENSHOTS = Path(__file__).parents[1] / "reports" / "screenshots"
WIDE, PHONE = 1280, 390

Scheme = Literal["light", "dark"]

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on the path; Debian: apt-get install chromium"
)

# A lazy image out of sight is never decoded, which the promise would wait for.
UNDECODED = """() => Promise.all([...document.images].map(
    image => (image.loading = "eager", image).decode().then(() => null, () => image.alt)
)).then(found => found.filter(one => one !== null))"""

# Scrolling regions are focusable in every browser only with a tabindex of their own.
REACHABLE = "a[href], button, input, select, textarea, summary, [tabindex='0']"


class Shown:
    """A page that has been opened, and what the browser complained of."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self.complaints.append(request.url[:200]))

    def undecoded(self) -> list[str]:
        """The alternative texts of images that cannot be shown."""
        return list(self.page.evaluate(UNDECODED))

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    def unreached(self) -> list[str]:
        """Outlines of visible elements to operate that the Tab key does not come to."""
        self.page.evaluate(
            """selector => document.querySelectorAll(selector).forEach(
                (one, number) => { if (one.checkVisibility()) one.dataset.stop = number; })""",
            REACHABLE,
        )
        stops = set(
            self.page.evaluate("[...document.querySelectorAll('[data-stop]')].map(o => o.dataset.stop)")
        )
        # One radio button of a group takes the focus; the arrow keys reach the others.
        for _ in range(len(stops) + 1):
            self.page.keyboard.press("Tab")
            stops.discard(self.page.evaluate("document.activeElement.dataset.stop"))
        return [
            str(
                self.page.evaluate(
                    "n => document.querySelector(`[data-stop='${n}']`).outerHTML.slice(0, 90)", n
                )
            )
            for n in stops
            if not self.page.evaluate("n => document.querySelector(`[data-stop='${n}']`).type === 'radio'", n)
        ]

    def violations(self) -> list[str]:
        """What axe-core finds against WCAG 2.2 AA: contrast, names, structure."""
        from axe_playwright_python.sync_playwright import Axe

        violations = Axe().run(self.page).response["violations"]
        return [
            f"{violation['id']}: {node['html'][:120]}"
            for violation in violations
            for node in violation["nodes"]
        ]

    def screenshot(self, name: str) -> None:
        """Keep the whole page as reports/screenshots/NAME.png."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


class Browser:
    """A running Chromium."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    @contextmanager
    def opened(self, path: Path, *, width: int = WIDE, scheme: Scheme = "light") -> Iterator[Shown]:
        """Open a file from disk, with no network, and with nothing that another page left."""
        context = self._browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        view = Shown(context.new_page())
        view.page.goto(path.as_uri())
        yield view
        context.close()


@contextmanager
def started() -> Iterator[Browser]:
    """Start Chromium, and end it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's sandbox refuses to work for root, which is who runs in containers; our own pages only.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield Browser(browser)
        browser.close()
