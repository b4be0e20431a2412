"""`make explain`: what a param means, from the same classes as the docs."""

from collections import Counter

import pytest

from stages import cli, params
from stages.common.section import Section
from stages.report.pages import reference
from stages.tools.explain import describe, explain
from tests.paths import ROOT


def explained(key: str) -> list[str]:
    return describe(params.load(ROOT / "params.yaml"), key)


def test_a_param_has_its_meaning_range_value_and_place_in_the_books() -> None:
    lines = explained("models.hog_logistic.c")
    assert lines[:2] == ["models.hog_logistic.c", "  meaning  inverse strengths of the L2 penalty to try."]
    assert "  allowed  list of number > 0" in lines
    assert "  book     Practitioner Bundle ch. 3" in lines
    assert lines[-1] == '  change   make run RECIPE=digits SET="models.hog_logistic.c=…"'
    assert "  allowed  integer > 0 or null" in explained("models.lenet.train.epochs")
    assert "  value    12" in explained("models.lenet.train.epochs")
    assert "  allowed  integer ≥ 0 < 4294967296" in explained("seed")


def test_a_run_of_own_images_needs_them_again(capsys: pytest.CaptureFixture[str]) -> None:
    explain("seed", recipe="images_from_scratch")
    assert capsys.readouterr().out.endswith('  change   make run DATA=… SET="seed=…"\n')


def test_a_section_lists_its_keys() -> None:
    lines = explained("models.lenet.optimizer")
    assert any(line.startswith("  keys     learning_rate, schedule") for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("models.lenet.train.epoch", "did you mean models.lenet.train.epochs?"),
        ("models.lent.train.epoch", "did you mean models.lenet.train.epochs?"),
        ("epochs", "did you mean models.lenet.train.epochs?"),
        ("resise", "did you mean resize?"),
        ("resize.size.width", "resize.size is [16, 16] and has no keys below it"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(
    key: str, nearest: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit):
        cli.main(explain, [key])
    assert nearest in capsys.readouterr().err


def fields(section: type[Section], seen: set[type[Section]]) -> list[tuple[type[Section], str]]:
    """Every field of a section and of the sections in it."""
    if section in seen:
        return []
    seen.add(section)
    rows = [(section, name) for name in section.model_fields]
    for field in section.model_fields.values():
        for inside in reference.sections(field.annotation)[0]:
            rows += fields(inside, seen)
    return rows


def test_no_two_keys_of_a_section_share_a_meaning() -> None:
    """The class's summary is the meaning of a key that has none of its own."""
    rows = fields(params.Params, set())
    meanings = Counter((section, reference.describe(section, name).meaning) for section, name in rows)
    assert [(section.__module__, meaning) for (section, meaning), keys in meanings.items() if keys > 1] == []


def test_every_param_has_a_meaning() -> None:
    rows = fields(params.Params, set())
    assert len(rows) > 150
    assert [
        f"{section.__name__}.{name}"
        for section, name in rows
        if not reference.describe(section, name).meaning
    ] == []
