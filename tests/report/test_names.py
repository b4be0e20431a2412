"""Text of people is never markup: names of classes and files, values of params, messages.

In figures (mathtext), HTML, Markdown (MLflow's description, Airflow's notes), Mermaid, and commands for a
shell.
"""

import io
import re
import shlex
from collections.abc import Callable
from html.parser import HTMLParser

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as any_
from markdown_it import MarkdownIt
from pydantic import TypeAdapter, ValidationError

from pipelines import markdown
from stages.params import Name
from stages.report.figures import charts, results
from stages.report.pages import commands, execution
from tests.conftest import MakeRun
from tests.paths import ROOT

ODD = [
    "$",
    "$\\frac$",
    "_hidden",
    "a_{b",
    "<b>&",
    "a|b",
    "`x`",
    "back\\slash",
    "two\nlines",
    "${HOME}",
    "{{ 7*7 }}",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "' onload='x",
    '"><b id="x',
    "[link](javascript:alert(1))",
    "![image](http://example.org/x.png)",
    "**bold** _it_ ~~no~~ # no",
    "``` ` ``",
    "$(touch x); rm -rf ~ & x > y",
    "'; touch x; '",
    'click A "javascript:x"',
    "end]; style A fill:red",
    "=1+1",
    "\u202eevil",
]
NAME = any_.text(
    any_.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30
) | any_.sampled_from(ODD)
NAMES = any_.lists(NAME, min_size=2, max_size=4, unique=True)


@pytest.mark.filterwarnings("ignore:Glyph")
@settings(max_examples=6, deadline=None)
@given(names=NAMES)
@example(names=ODD)
def test_figures_draw_any_names(names: list[str]) -> None:
    matrix = np.arange(len(names) ** 2).reshape(len(names), len(names))
    image = np.zeros((4, 4, 3), np.uint8)
    figures = [
        charts.confusion(matrix, names, "ensemble"),
        charts.contact_sheet([np.stack([image] * len(names))], names),
        results.captioned(np.stack([image] * len(names)), [f"{name} taken for\n{name}" for name in names]),
    ]
    for figure in figures:
        figure.savefig(io.BytesIO(), format="svg")
        figure.savefig(io.BytesIO(), format="png")


class Page(HTMLParser):
    """The tags of a page with their attributes' names, and all its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[tuple[str, ...]] = set()
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add((tag, *sorted(name for name, _ in attrs)))
        self.text += [value for _, value in attrs if value]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.slow
def test_pages_of_a_run_show_odd_class_names_as_text(make_run: MakeRun) -> None:
    names = [name for name in ODD if "/" not in name]
    plain = dict.fromkeys([f"class{number}" for number in range(len(names))], 8)
    odd = dict.fromkeys(names, 8)
    pages: dict[str, list[Page]] = {}
    for run in (make_run(plain), make_run(odd)):
        run.promote("other", "net")
        run.summarize()
        for page in sorted((run.root / "reports").glob("*.html")):
            pages.setdefault(page.name, []).append(Page(page.read_text(encoding="utf-8")))
    assert set(pages) == {"data.html", "index.html", "promotion.html"}
    for name, (before, after) in pages.items():
        assert after.tags <= before.tags, name
    for name in names:
        shown = " ".join(name.split())
        assert any(shown in " ".join(text.split()) for text in pages["data.html"][1].text), name


@pytest.mark.parametrize(
    "template", sorted(path.name for path in (ROOT / "stages/report/templates").iterdir())
)
def test_no_template_marks_a_text_as_safe(template: str) -> None:
    text = (ROOT / "stages/report/templates" / template).read_text(encoding="utf-8")
    for expression in re.findall(r"{{(.*?)}}", text):
        if "safe" in re.findall(r"\w+", expression):
            # A constant of the template's own.
            assert re.match(r" '[^']*'\|safe ", expression), expression
    assert "autoescape" not in text


TEXT = any_.text(any_.characters(exclude_categories=["Cs"]), max_size=40) | any_.sampled_from(ODD)


@pytest.mark.parametrize("code", [execution.code, markdown.code])
@settings(max_examples=300, deadline=None)
@given(text=TEXT)
def test_markdown_shows_a_text_as_it_is(code: Callable[[str], str], text: str) -> None:
    (paragraph,) = [
        token
        for token in MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(f"Failed: {code(text)}")
        if token.type == "inline"
    ]
    shown = " ".join(text.split()).replace("\0", "\ufffd")
    if not shown:
        return
    assert [token.type for token in paragraph.children or []] == ["text", "code_inline"]
    assert (paragraph.children or [])[1].content == shown


@settings(max_examples=100, deadline=None)
@given(values=any_.lists(TEXT.filter(str.strip), min_size=1, max_size=3))
def test_mlflows_description_has_no_markup_but_its_own(values: list[str]) -> None:
    scores = {"net": {"accuracy": 0.9, "n": 10.0, "log_loss": 0.1, "ece": 0.1, "macro_f1": 0.9}}
    note = execution.note("digits", scores, [f"a.b={value}" for value in values])
    tokens = MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(note)
    kinds = {token.type for token in tokens if token.nesting >= 0}
    assert kinds == {
        "paragraph_open",
        "inline",
        *(f"{part}_open" for part in ("table", "thead", "tbody", "tr", "th", "td")),
    }
    last = [token for token in tokens if token.type == "inline"][-1]
    assert {token.type for token in last.children or []} <= {"text", "code_inline"}
    spans = [token.content for token in last.children or [] if token.type == "code_inline"]
    assert spans == [" ".join(f"a.b={value}".split()).replace("\0", "\ufffd") for value in values]


@settings(max_examples=300, deadline=None)
@given(name=TEXT | any_.from_regex(r"\A[a-z][a-z0-9_]*\Z"))
def test_names_in_mermaid_and_of_folders_are_words(name: str) -> None:
    """`dvc dag --mermaid` draws stages by the names of members, which DVC writes as they are."""
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        return
    assert re.fullmatch(r"[a-z0-9_]+", name, re.ASCII)


@settings(max_examples=300, deadline=None)
@given(
    value=TEXT.filter(lambda text: text.isprintable()) | any_.lists(TEXT.filter(str.isprintable), max_size=2)
)
def test_a_shown_command_has_the_value_that_was_meant(value: str | list[str]) -> None:
    """shlex quotes the words for the shell; tests/report/test_commands.py reads whole commands."""
    (override,) = shlex.split(shlex.join([f"a={commands.word(value)}"]))
    (parsed,) = OverridesParser.create().parse_overrides([override])
    assert parsed.value() == value
