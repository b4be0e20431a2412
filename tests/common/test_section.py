"""The rules every part of the params keeps."""

import pytest
from pydantic import ValidationError

from stages.common.section import Fraction, Positive, Section, Seed


class Oven(Section):
    """A section to try the rules on."""

    heat: Positive
    open: Fraction
    seed: Seed


def test_good_values_are_kept_and_cannot_be_changed() -> None:
    oven = Oven(heat=200, open=0.5, seed=0)
    with pytest.raises(ValidationError, match="frozen"):
        oven.heat = 10  # type: ignore[misc]


@pytest.mark.parametrize(
    "wrong",
    [
        {"heat": 0},
        {"heat": "200"},
        {"heat": True},
        {"open": 0.0},
        {"open": 1.0},
        {"open": float("nan")},
        {"seed": -1},
        {"seed": 2**32},
        {"colour": "red"},
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Oven.model_validate({"heat": 200, "open": 0.5, "seed": 0} | wrong)


def test_an_unknown_key_is_named_with_the_nearest_and_all_others() -> None:
    message = r"unknown key heet \(did you mean heat\?\); allowed: heat, open, seed"
    with pytest.raises(ValidationError, match=message):
        Oven.model_validate({"heet": 200, "open": 0.5, "seed": 0})


def test_an_unknown_key_like_no_other_comes_without_a_question() -> None:
    with pytest.raises(ValidationError, match="unknown key colour; allowed: heat, open, seed"):
        Oven.model_validate({"heat": 200, "open": 0.5, "seed": 0, "colour": "red"})
