"""What is left of a class to train on, counted before an image is decoded."""

from collections import Counter

import pytest

from stages.data import splitting


@pytest.mark.parametrize("shares", [(0.15, 0.15, 0.0), (0.15, 0.15, 0.1), (0.4, 0.5, 0.0)])
def test_as_many_images_are_left_for_train_as_the_split_leaves(shares: tuple[float, float, float]) -> None:
    val, test, train_val = shares
    cut = splitting.shares_to_cut(val, test, train_val, named=())
    numbers = range(len(cut) + 1, 60)
    labels = {f"{number} {image}": str(number) for number in numbers for image in range(number)}
    splits = splitting.assign(labels, val, test, seed=1, train_val_fraction=train_val)
    training = Counter(label for image, label in labels.items() if splits[image] == "train")
    assert {number: splitting.images_left(number, cut) for number in numbers} == {
        number: training[str(number)] for number in numbers
    }


def test_a_split_that_the_source_names_is_not_cut_out_of_train() -> None:
    assert splitting.images_left(4, splitting.shares_to_cut(0.15, 0.15, 0.0, named={"train"})) == 2
    assert splitting.images_left(4, splitting.shares_to_cut(0.15, 0.15, 0.0, named={"train", "test"})) == 3
    assert splitting.images_left(4, splitting.shares_to_cut(0.15, 0.15, 0.0, named={"val", "test"})) == 4
    assert splitting.images_left(2, splitting.shares_to_cut(0.15, 0.15, 0.0, named=())) == 0
