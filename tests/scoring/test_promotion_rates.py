"""The error rates that the rules of promotion promise, in benchmarks/promotion_rules.py's simulations."""

import pytest

from benchmarks.promotion_rules import Setting, false_promotions, rates

# A tracer adds half to a simulation; tests/scoring/test_promotion.py has the same lines.
pytestmark = pytest.mark.no_cover
CLASSES_AND_IMAGES = [(10, 100), (101, 13), (200, 50)]


def test_200_nights_without_progress_promote_in_at_most_5_of_100_sequences() -> None:
    """A fresh level every night, as before, promoted a challenger of equal quality in most sequences."""
    assert false_promotions("budget", images=1000, sequences=60) <= 0.05
    assert false_promotions("each night", images=1000, sequences=20) > 0.3
    assert false_promotions("ladder", images=1000, sequences=20) > 0.5


@pytest.mark.parametrize(("classes", "images"), CLASSES_AND_IMAGES)
def test_no_class_stands_in_the_way_of_a_better_challenger(classes: int, images: int) -> None:
    """The largest drop of any class, as a bare number, stopped all of them at 101 x 13."""
    measured = rates(Setting(classes, images), draws=200)
    assert measured.significant > 0.5
    assert measured.promoted >= 0.8


@pytest.mark.parametrize(("classes", "images"), [(10, 30), (10, 100), (200, 50)])
def test_a_challenger_with_one_class_ruined_is_refused(classes: int, images: int) -> None:
    """Its recall has dropped by 0.3, while all other classes are better by 3 points."""
    assert rates(Setting(classes, images), draws=300, seed=1).refused >= 0.95
