"""Against exact sums, against another way to the same figure, and where nothing differs."""

import numpy as np
import pytest
from scipy.stats import binomtest

from stages.scoring import significance

LEVEL = 0.05


def records(both: int, gained: int, lost: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Right and wrong answers of a candidate and a champion with these counts."""
    counts = [both, gained, lost, neither]
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_mcnemars_mid_p_is_the_one_of_the_paper() -> None:
    """Fagerland et al. 2013, table 1 and its text: 1 and 7 of 21 pairs differ; exact 0.070, mid-p 0.039."""
    found = significance.accuracy(*records(1, 7, 1, 12), LEVEL)
    assert (found.gained, found.lost) == (7, 1)
    assert found.p_value == pytest.approx(0.039, abs=5e-4)
    assert binomtest(1, 8).pvalue == pytest.approx(0.070, abs=5e-4)


@pytest.mark.parametrize(("gained", "lost"), [(0, 5), (12, 3), (40, 41), (300, 200)])
def test_mid_p_is_the_exact_p_less_the_probability_of_what_was_seen(gained: int, lost: int) -> None:
    few, differ = min(gained, lost), gained + lost
    exact = binomtest(few, differ)
    seen = binomtest(few, differ, alternative="less").pvalue - (
        binomtest(few - 1, differ, alternative="less").pvalue if few else 0.0
    )
    found = significance.accuracy(*records(500, gained, lost, 20), LEVEL)
    assert found.p_value == pytest.approx(exact.pvalue - seen)
    assert found.gain == pytest.approx((gained - lost) / (520 + differ))
    assert found.low < found.gain < found.high


def test_equal_models_are_no_different() -> None:
    same = significance.accuracy(*records(90, 0, 0, 10), LEVEL)
    assert (same.gain, same.p_value, same.gained, same.lost) == (0.0, 1.0, 0, 0)
    assert significance.accuracy(*records(90, 4, 4, 10), LEVEL).p_value == 1.0
    losses = np.random.default_rng(0).exponential(size=50)
    level = significance.log_loss(losses, losses, LEVEL, seed=1)
    assert (level.gain, level.low, level.high, level.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_the_interval_of_the_difference_holds_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(3)
    inside = 0
    for _ in range(1000):
        both, gained, lost, neither = draw.multinomial(150, [0.7, 0.12, 0.06, 0.12])
        found = significance.accuracy(*records(both, gained, lost, neither), LEVEL)
        inside += found.low <= 0.06 <= found.high
    assert 0.93 <= inside / 1000 <= 0.97


def test_the_bootstrap_agrees_with_the_normal_approximation() -> None:
    draw = np.random.default_rng(0)
    champion = draw.exponential(size=2000)
    candidate = champion - draw.normal(0.02, 0.3, 2000)
    found = significance.log_loss(candidate, champion, LEVEL, seed=1)
    saved = champion - candidate
    error = saved.std(ddof=1) / 2000**0.5
    assert found.gain == pytest.approx(saved.mean())
    assert found.low == pytest.approx(saved.mean() - 1.96 * error, abs=error / 10)
    assert found.high == pytest.approx(saved.mean() + 1.96 * error, abs=error / 10)
    reverse = significance.log_loss(champion, candidate, LEVEL, seed=1)
    assert reverse.p_value == pytest.approx(found.p_value, abs=1e-9)
    assert reverse.gain == -found.gain
    assert found == significance.log_loss(candidate, champion, LEVEL, seed=1)
    assert (found.gained, found.lost) == (None, None)


def test_a_bootstraps_p_value_is_never_nothing() -> None:
    found = significance.log_loss(np.zeros(30), np.ones(30), LEVEL, seed=1)
    assert 0 < found.p_value < 0.001
    assert (found.low, found.high) == (1.0, 1.0)
