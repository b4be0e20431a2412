"""The pages in a browser: nothing broken, all reachable and readable, wide and narrow, light and dark."""

from pathlib import Path
from typing import Any

import pytest

from stages.scoring.books import Book, Printed
from tests.browser import PHONE, WIDE, Browser, Scheme, needs_chromium

pytestmark = [needs_chromium, pytest.mark.slow]

LONG = {
    "a class with a long name of many words in it": 20,
    "Donaudampfschifffahrtsgesellschaft": 20,
    "cat": 20,
}
NAMES = ["index", "data", "promotion"]
LOOKS: list[tuple[int, Scheme]] = [(WIDE, "light"), (WIDE, "dark"), (PHONE, "light"), (PHONE, "dark")]


@pytest.fixture(scope="module")
def pages(make_run: Any) -> dict[str, Path]:
    """The pages, with every section and with names that are hard to lay out."""
    run = make_run(LONG, {"net": 0.7, "logistic": 0.6, "a_member_with_a_long_name_of_many_words": 0.5})
    figure = Printed(of="net", metric="accuracy", value=0.9, tolerance=0.05, source="Starter Bundle ch. 12")
    run.book = Book(figures=[figure])
    run.promote("a_member_with_a_long_name_of_many_words", champion="net")
    index = run.summarize()
    return {"index": index} | {name: index.with_name(f"{name}.html") for name in NAMES[1:]}


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_whole_readable_and_as_wide_as_the_window(
    browser: Browser, pages: dict[str, Path], name: str, width: int, scheme: Scheme
) -> None:
    with browser.opened(pages[name], width=width, scheme=scheme) as shown:
        shown.screenshot(f"{name}-{width}-{scheme}")
        assert shown.undecoded() == []
        assert shown.overflow() <= 0
        assert shown.violations() == []
        assert shown.complaints == []


@pytest.mark.parametrize("name", NAMES)
def test_a_keyboard_reaches_everything(browser: Browser, pages: dict[str, Path], name: str) -> None:
    with browser.opened(pages[name]) as shown:
        assert shown.unreached() == []


def test_the_matrix_shows_counts_or_shares(browser: Browser, pages: dict[str, Path]) -> None:
    with browser.opened(pages["index"]) as shown:
        cells = shown.page.locator(".matrix").first.locator("td.hit").first
        count = cells.inner_text()
        shown.page.get_by_label("Share of the actual class").first.focus()
        shown.page.keyboard.press("Space")
        assert count.isdigit()
        assert 0 < float(cells.inner_text()) <= 1


def test_classes_are_sorted_as_the_reader_asks(browser: Browser, pages: dict[str, Path]) -> None:
    with browser.opened(pages["index"]) as shown:
        names = {}
        for order in ("lowest F1", "name"):
            shown.page.get_by_label(order, exact=True).check()
            rows = shown.page.locator(".sorted tbody th:visible")
            names[order] = rows.all_inner_texts()
        assert names["name"] == sorted(names["lowest F1"], key=str.lower)
        assert len(names["name"]) == len(LONG)


def test_classes_of_the_data_are_sorted_too(browser: Browser, pages: dict[str, Path]) -> None:
    with browser.opened(pages["data"]) as shown:
        shown.page.get_by_label("name", exact=True).check()
        names = shown.page.locator(".sorted tbody th:visible").all_inner_texts()
        assert names == sorted(LONG, key=str.lower)


def test_an_error_is_large_after_a_click_or_a_key(browser: Browser, pages: dict[str, Path]) -> None:
    with browser.opened(pages["index"]) as shown:
        first = shown.page.locator(".errors summary").first
        before = first.locator("img").bounding_box()
        first.focus()
        shown.page.keyboard.press("Enter")
        after = first.locator("img").bounding_box()
        assert before is not None
        assert after is not None
        assert after["width"] > 2 * before["width"]


def test_a_wide_window_is_used(browser: Browser, pages: dict[str, Path]) -> None:
    with browser.opened(pages["index"], width=1600) as shown:
        main = shown.page.locator("main").bounding_box()
        assert main is not None
        assert main["width"] > 1400


def test_links_lead_somewhere(browser: Browser, pages: dict[str, Path]) -> None:
    with browser.opened(pages["index"]) as shown:
        links = shown.page.evaluate(
            "[...document.querySelectorAll('a')].map(one => one.getAttribute('href'))"
        )
        for link in links:
            if link.startswith("#"):
                assert shown.page.locator(link).count() == 1, link
            else:
                assert pages["index"].with_name(link).exists(), link


def test_the_checks_find_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    """Else they would pass on any page."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><html lang=en><title>Bad</title><main><h1>Bad</h1>"
        "<p style='color:#ccc;width:900px'>Faint"
        "<img alt=broken src='data:image/png;base64,AAAA'><a href='#x' tabindex=-1>never</a>"
        "<script>missing()</script></main>"
    )
    with browser.opened(page, width=PHONE) as shown:
        assert shown.undecoded() == ["broken"]
        assert shown.overflow() > 0
        assert any("color-contrast" in violation for violation in shown.violations())
        assert any("missing" in complaint for complaint in shown.complaints)
        assert any("never" in name for name in shown.unreached())
