"""Names of classes are text, never markup, in figures."""

import io

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as any_

from stages.report.figures import charts, results

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
        results.errors(np.stack([image] * len(names)), [f"{name} taken for\n{name}" for name in names]),
    ]
    for figure in figures:
        figure.savefig(io.BytesIO(), format="svg")
        figure.savefig(io.BytesIO(), format="png")
