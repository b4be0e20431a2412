"""Against exact sums, against resampling, and where nothing differs."""

import numpy as np
import pytest
from scipy.stats import binomtest

from stages.scoring import significance

# Of each side: intervals are of 95 %.
LEVEL = 0.025


def records(both_right: int, gained: int, lost: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether challenger and champion are correct, on images with these counts."""
    counts = [both_right, gained, lost, neither]
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_mcnemars_mid_p_is_the_one_of_the_paper() -> None:
    """Fagerland et al. 2013, table 1 and its text: 1 and 7 of 21 pairs differ; exact 0.070, mid-p 0.039."""
    paired = significance.accuracy(*records(1, 7, 1, 12), LEVEL)
    assert (paired.gained, paired.lost) == (7, 1)
    assert paired.two_sided == pytest.approx(0.039, abs=5e-4)
    assert paired.p_value == pytest.approx(paired.two_sided / 2)
    assert binomtest(1, 8).pvalue == pytest.approx(0.070, abs=5e-4)


def test_a_large_loss_has_the_p_value_of_the_same_gain_and_not_nothing() -> None:
    worse = significance.accuracy(*records(140, 3, 124, 2), LEVEL)
    better = significance.accuracy(*records(140, 124, 3, 2), LEVEL)
    assert 0 < worse.two_sided == better.two_sided < 1e-30


@pytest.mark.parametrize(("gained", "lost"), [(0, 5), (12, 3), (40, 41), (300, 200)])
def test_mid_p_is_the_exact_p_less_half_the_probability_of_what_was_seen(gained: int, lost: int) -> None:
    differ = gained + lost
    exact = binomtest(gained, differ, alternative="greater").pvalue
    beyond = binomtest(gained + 1, differ, alternative="greater").pvalue if gained < differ else 0.0
    paired = significance.accuracy(*records(500, gained, lost, 20), LEVEL)
    assert paired.p_value == pytest.approx((exact + beyond) / 2)
    assert paired.gain == pytest.approx((gained - lost) / (520 + differ))
    assert paired.low < paired.gain < paired.high


def test_equal_models_are_no_different() -> None:
    same = significance.accuracy(*records(90, 0, 0, 10), LEVEL)
    assert (same.gain, same.two_sided, same.gained, same.lost) == (0.0, 1.0, 0, 0)
    assert significance.accuracy(*records(90, 4, 4, 10), LEVEL).two_sided == 1.0
    losses = np.random.default_rng(0).exponential(size=50)
    level = significance.log_loss(losses, losses, LEVEL)
    assert (level.gain, level.low, level.high, level.two_sided) == (0.0, 0.0, 0.0, 1.0)


def test_the_interval_of_the_difference_holds_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(3)
    inside = 0
    for _ in range(1000):
        both_right, gained, lost, neither = draw.multinomial(150, [0.7, 0.12, 0.06, 0.12])
        paired = significance.accuracy(*records(both_right, gained, lost, neither), LEVEL)
        inside += paired.low <= 0.06 <= paired.high
    assert 0.93 <= inside / 1000 <= 0.97


def test_the_bootstrap_agrees_with_the_normal_approximation() -> None:
    draw = np.random.default_rng(0)
    champion = draw.exponential(size=2000)
    challenger = champion - draw.normal(0.02, 0.3, 2000)
    paired = significance.log_loss(challenger, champion, LEVEL)
    saved = champion - challenger
    error = saved.std(ddof=1) / 2000**0.5
    assert paired.gain == pytest.approx(saved.mean())
    assert paired.low == pytest.approx(saved.mean() - 1.96 * error, abs=error / 10)
    assert paired.high == pytest.approx(saved.mean() + 1.96 * error, abs=error / 10)
    reverse = significance.log_loss(champion, challenger, LEVEL)
    assert reverse.p_value == pytest.approx(1 - paired.p_value, abs=1e-6)
    assert reverse.gain == -paired.gain
    assert (paired.gained, paired.lost) == (None, None)


@pytest.mark.parametrize("images", [60, 400])
def test_the_saddlepoint_is_the_bootstrap_that_resampling_gives(images: int) -> None:
    draw = np.random.default_rng(images)
    saved = draw.exponential(1.0, images) - 0.85
    paired = significance.log_loss(np.zeros(images), saved, LEVEL)
    means = saved[draw.integers(0, images, (40_000, images))].mean(axis=1)
    low, high = np.quantile(means, [LEVEL, 1 - LEVEL])
    assert (paired.low, paired.high) == pytest.approx((low, high), abs=0.02 * (high - low))
    assert paired.p_value == pytest.approx((means <= 0).mean(), abs=0.006)


def test_a_bootstraps_p_value_is_never_nothing() -> None:
    paired = significance.log_loss(np.zeros(30), np.ones(30), LEVEL)
    assert 0 < paired.p_value < 1e-6
    assert (paired.low, paired.high) == (1.0, 1.0)
    # One image cannot prove anything, however small the level.
    few = significance.log_loss(np.zeros(5), np.arange(1.0, 6.0), 1e-9)
    assert few.low == 1.0
    assert few.p_value == 0.5**5


def test_levels_beyond_any_resampling_are_reached() -> None:
    """Decision 200 of a level of 0.05 is at 8e-7: 10,000 resamples would show no bound there."""
    draw = np.random.default_rng(1)
    saved = draw.normal(0.05, 0.5, 3000)
    paired = significance.log_loss(np.zeros(3000), saved, 7.6e-7)
    error = saved.std() / 3000**0.5
    assert (saved.mean() - paired.low) / error == pytest.approx(4.81, abs=0.05)


def test_a_drop_is_compared_with_what_chance_gives_the_worst_of_all_classes() -> None:
    """Two classes of 10; the first loses 5 images: 1 in 32 for it alone, and the second cannot drop."""
    images = np.array([10, 10])
    p_values = significance.class_drops(np.array([5, 0]), np.array([0, 0]), images, 0.1)
    assert p_values.tolist() == [1 / 32, 1.0]
    # A second class that could as well drop by 5 doubles the chance, less that both do.
    p_values = significance.class_drops(np.array([5, 0]), np.array([0, 5]), images, 0.1)
    assert p_values.tolist() == pytest.approx([1 - (31 / 32) ** 2, 1.0])


def test_drops_that_are_tolerated_are_none() -> None:
    lost, images = np.array([10, 11]), np.array([100, 100])
    p_values = significance.class_drops(lost, np.zeros(2, np.int64), images, 0.1)
    assert p_values[0] == 1.0
    assert p_values[1] == pytest.approx(2**-11)


def test_drops_are_found_by_chance_as_often_as_the_level_says() -> None:
    """Equal models, 20 classes: the least p-value is below 0.3 in at most 30 % of draws."""
    draw = np.random.default_rng(0)
    images = np.full(20, 50)
    least = []
    for _ in range(500):
        lost = draw.binomial(images, 0.1)
        gained = draw.binomial(images - lost, 0.1 / 0.9)
        least.append(significance.class_drops(lost, gained, images, 0.0).min())
    assert 0.2 <= (np.array(least) <= 0.3).mean() <= 0.34
