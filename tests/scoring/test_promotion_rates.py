"""The error rates that the rules of promotion promise, in benchmarks/promotion_rules.py's simulations."""

import pytest

from benchmarks.promotion_rules import Setting, false_promotions, false_promotions_by_log_loss, rates

# A tracer adds half to a simulation; tests/scoring/test_promotion.py has the same lines.
pytestmark = pytest.mark.no_cover
BETTER = [
    (10, 100, 0.04),
    (101, 13, 0.04),
    (101, 13, 0.08),
    (101, 30, 0.08),
    (200, 50, 0.04),
    (200, 50, 0.08),
]
RUINED = [(10, 30, 0.02), (10, 30, 0.08), (10, 100, 0.04), (101, 30, 0.04)]
RUINED += [(200, 50, churn) for churn in (0.02, 0.04, 0.08)]


def test_200_nights_without_progress_promote_in_at_most_5_of_100_sequences() -> None:
    """A fresh level every night, as before, promoted a challenger of equal quality in most sequences."""
    assert false_promotions("budget", images=1000, sequences=60) <= 0.05
    assert false_promotions("each night", images=1000, sequences=20) > 0.3
    assert false_promotions("ladder", images=1000, sequences=20) > 0.5


def test_the_level_is_nominal_for_log_loss() -> None:
    """As docs/promotion.md says: 3 in 10,000 are allowed at decision 10, and rare large losses cost more."""
    assert 0.0003 < false_promotions_by_log_loss(300, decision=10, draws=150) < 0.1


@pytest.mark.parametrize(("classes", "images", "churn"), BETTER)
def test_no_class_stands_in_the_way_of_a_better_challenger(classes: int, images: int, churn: float) -> None:
    """The largest drop of any class, as a bare number, stopped all of them at 101 x 13."""
    measured = rates(Setting(classes, images, churn), draws=300)
    assert measured.significant > 0.5
    assert measured.promoted >= 0.8


@pytest.mark.parametrize(("classes", "images", "churn"), RUINED)
def test_a_challenger_with_one_class_ruined_is_refused(classes: int, images: int, churn: float) -> None:
    """Its recall has dropped by 0.3, while all other classes are better by 3 points.

    The drop in images alone, the statistic before, missed 10 % at 200 x 50 and a churn of 8 %.
    """
    assert rates(Setting(classes, images, churn), draws=300, seed=1).refused >= 0.95


def test_the_best_possible_test_bounds_what_is_refused() -> None:
    """It misses the aim with 13 images a class, and barely reaches it with 30; the rule is close to it."""
    few, more = (rates(Setting(101, images, 0.08), draws=300, seed=1) for images in (13, 30))
    assert few.refused_at_best < 0.9
    assert more.refused_at_best < 0.97
    assert few.refused_at_best - few.refused < 0.12
    assert more.refused_at_best - more.refused < 0.06
