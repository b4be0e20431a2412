"""The commonest confusions, without a table of all pairs of classes."""

import numpy as np

from stages.scoring.confusions import Confusion, commonest


def test_the_most_frequent_come_first_and_right_answers_are_none() -> None:
    actual = np.array([0, 0, 1, 2, 2, 2, 1])
    predicted = np.array([1, 1, 0, 2, 0, 0, 1])
    assert commonest(actual, predicted, 10) == [Confusion(0, 1, 2), Confusion(2, 0, 2), Confusion(1, 0, 1)]
    assert commonest(actual, predicted, 1) == [Confusion(0, 1, 2)]
    assert commonest(actual, actual, 10) == []


def test_many_classes_take_no_table_of_pairs() -> None:
    actual = np.arange(200_000)
    assert len(commonest(actual, np.roll(actual, 1), 1_000)) == 1_000
