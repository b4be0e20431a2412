"""Splits: decided by content, stratified, stable."""

import hashlib
from collections import Counter

import pytest

from stages.common.errors import SourceError
from stages.data.manifest import Split
from stages.data.splitting import absent_classes, assign, counts


def contents(number: int, salt: str = "") -> list[str]:
    return [hashlib.sha256(f"{salt}{n}".encode()).hexdigest() for n in range(number)]


def test_every_class_has_its_share_of_each_split() -> None:
    labels = dict.fromkeys(contents(1000), "many") | dict.fromkeys(contents(40, "few"), "few")
    splits = assign(labels, 0.15, 0.25, seed=1)
    per_class = Counter((labels[image], split) for image, split in splits.items())
    assert per_class["many", "val"] == 150
    assert per_class["many", "test"] == 250
    assert per_class["few", "val"] == 6
    assert per_class["few", "test"] == 10
    assert counts(splits.values()) == {"train": 624, "val": 156, "test": 260}


def test_the_order_of_the_images_plays_no_role() -> None:
    labels = {image: "ab"[number % 2] for number, image in enumerate(contents(200))}
    backwards = dict(reversed(labels.items()))
    assert assign(labels, 0.2, 0.2, seed=7) == assign(backwards, 0.2, 0.2, seed=7)


def test_the_name_of_a_class_plays_no_role() -> None:
    labels = {image: "ab"[number % 2] for number, image in enumerate(contents(200))}
    renamed = {image: {"a": "zebra", "b": "b"}[label] for image, label in labels.items()}
    assert assign(labels, 0.2, 0.2, seed=7) == assign(renamed, 0.2, 0.2, seed=7)


def test_another_seed_gives_another_split_of_the_same_sizes() -> None:
    labels = {image: "ab"[number % 2] for number, image in enumerate(contents(200))}
    first, second = (assign(labels, 0.2, 0.2, seed=seed) for seed in (1, 2))
    assert first != second
    assert counts(first.values()) == counts(second.values())


def test_few_images_move_when_some_are_added() -> None:
    labels = {image: "ab"[number % 2] for number, image in enumerate(contents(1000))}
    more = labels | dict.fromkeys(contents(10, "more"), "a")
    before, after = assign(labels, 0.2, 0.2, seed=1), assign(more, 0.2, 0.2, seed=1)
    assert sum(before[image] != after[image] for image in labels) <= 10


def test_the_smallest_class_has_one_image_in_each_split() -> None:
    labels = dict.fromkeys(contents(50), "big") | dict.fromkeys(contents(3, "small"), "small")
    splits = assign(labels, 0.4, 0.5, seed=1)
    assert sorted(splits[image] for image, label in labels.items() if label == "small") == [
        "test",
        "train",
        "val",
    ]


@pytest.mark.parametrize("number", [1, 2])
def test_a_class_too_small_for_three_splits_is_named(number: int) -> None:
    labels = dict.fromkeys(contents(50), "big") | dict.fromkeys(contents(number, "rare"), "rare bird")
    with pytest.raises(SourceError, match=f"at least 3 .*'rare bird' has {number}"):
        assign(labels, 0.2, 0.2, seed=1)


@pytest.mark.parametrize("classes", [[], ["cat"]])
def test_fewer_than_two_classes_are_no_task_for_a_classifier(classes: list[str]) -> None:
    labels = {image: name for name in classes for image in contents(9, name)}
    with pytest.raises(SourceError, match="at least 2 classes with readable images; found"):
        assign(labels, 0.2, 0.2, seed=1)


def test_fixed_splits_stay_and_only_a_missing_one_is_cut_out_of_train() -> None:
    labels = {image: "ab"[number % 2] for number, image in enumerate(contents(200))}
    fixed = {image: "test" if number < 50 else "train" for number, image in enumerate(labels)}
    splits = assign(labels, 0.2, 0.2, seed=1, fixed=fixed)
    assert {image for image, split in splits.items() if split == "test"} == set(contents(50))
    per_class = Counter((labels[image], split) for image, split in splits.items())
    assert per_class["a", "val"] == per_class["b", "val"] == 15
    assert counts(splits.values()) == {"train": 120, "val": 30, "test": 50}


def test_three_fixed_splits_stay_as_they_are() -> None:
    labels = {image: "ab"[number % 2] for number, image in enumerate(contents(60))}
    fixed = {image: ("train", "val", "test")[number % 3] for number, image in enumerate(labels)}
    assert assign(labels, 0.2, 0.2, seed=1, fixed=fixed) == fixed


def test_fixed_no_more_than_train_the_rest_is_cut_as_by_content() -> None:
    labels = {image: "ab"[number % 2] for number, image in enumerate(contents(60))}
    fixed = dict.fromkeys(labels, "train")
    assert assign(labels, 0.2, 0.2, seed=1, fixed=fixed) == assign(labels, 0.2, 0.2, seed=1)


def test_a_class_without_training_images_is_named() -> None:
    labels = {image: "ab"[number % 2] for number, image in enumerate(contents(60))}
    fixed = {image: "test" if label == "b" else "train" for image, label in labels.items()}
    with pytest.raises(SourceError, match="at least 2 different readable images for train, val: 'b' has 0"):
        assign(labels, 0.2, 0.2, seed=1, fixed=fixed)


def test_train_val_is_a_share_of_train_and_leaves_val_and_test_as_they_are() -> None:
    labels = dict.fromkeys(contents(1000), "many") | dict.fromkeys(contents(40, "few"), "few")
    without = assign(labels, 0.15, 0.25, seed=1)
    splits = assign(labels, 0.15, 0.25, seed=1, train_val_fraction=0.1)
    per_class = Counter((labels[image], split) for image, split in splits.items())
    assert (per_class["many", "train"], per_class["many", "train_val"]) == (540, 60)
    assert (per_class["few", "train"], per_class["few", "train_val"]) == (22, 2)
    moved = {image for image in labels if splits[image] != without[image]}
    assert {(without[image], splits[image]) for image in moved} == {("train", "train_val")}
    assert counts(splits.values()) == {"train": 562, "train_val": 62, "val": 156, "test": 260}


def test_train_val_is_cut_out_of_train_where_the_source_names_its_splits() -> None:
    labels = {image: "ab"[number % 2] for number, image in enumerate(contents(300))}
    fixed = {image: ("train", "val", "test")[number % 3] for number, image in enumerate(labels)}
    splits = assign(labels, 0.2, 0.2, seed=1, fixed=fixed, train_val_fraction=0.2)
    assert counts(splits.values()) == {"train": 80, "train_val": 20, "val": 100, "test": 100}
    assert all(fixed[image] == "train" for image, split in splits.items() if split == "train_val")
    per_class = Counter(labels[image] for image, split in splits.items() if split == "train_val")
    assert per_class == {"a": 10, "b": 10}


def test_a_group_is_not_cut_by_train_val() -> None:
    near = contents(120, "near")
    labels = {image: "ab"[number % 2] for number, image in enumerate(near + contents(300))}
    groups = in_groups(near, 3)
    splits = assign(labels, 0.2, 0.2, seed=1, groups=groups, train_val_fraction=0.3)
    assert all(len({splits[image] for image in group}) == 1 for group in groups)
    assert {splits[group[0]] for group in groups} == {"train", "train_val", "val", "test"}


def test_a_class_too_small_for_train_val_is_named() -> None:
    labels = dict.fromkeys(contents(50), "big") | dict.fromkeys(contents(3, "rare"), "rare bird")
    with pytest.raises(SourceError, match=r"at least 4 .* train, train_val, val, test: 'rare bird' has 3"):
        assign(labels, 0.2, 0.2, seed=1, train_val_fraction=0.1)
    labels |= dict.fromkeys(contents(4, "rare"), "rare bird")
    splits = assign(labels, 0.2, 0.2, seed=1, train_val_fraction=0.9)
    rare = sorted(splits[image] for image, label in labels.items() if label == "rare bird")
    assert rare == ["test", "train", "train_val", "val"]


def in_groups(digests: list[str], members: int) -> list[list[str]]:
    return [digests[start : start + members] for start in range(0, len(digests), members)]


def test_a_group_is_in_one_split_also_after_images_are_added() -> None:
    near, unrelated = contents(120, "near"), contents(300)
    groups = in_groups(near, 3)
    for added in range(0, 60, 7):
        labels = {image: "ab"[n % 2] for n, image in enumerate(near + unrelated + contents(added, "added"))}
        splits = assign(labels, 0.2, 0.2, seed=1, groups=groups)
        assert all(len({splits[image] for image in group}) == 1 for group in groups)
        assert {splits[group[0]] for group in groups} == {"train", "val", "test"}
        assert abs(counts(splits.values())["test"] - 0.2 * len(labels)) <= 3


@pytest.mark.parametrize(("members", "groups"), [(2, 100), (10, 50)])
def test_groups_crowd_into_no_split(members: int, groups: int) -> None:
    """The place of a group was the first of its members': 30 % and 87 % of test were images of groups."""
    shares = Counter[str]()
    for seed in range(20):
        grouped, single = contents(members * groups, f"{seed}"), contents(1_000 - members * groups, "single")
        labels = dict.fromkeys(grouped + single, "a") | dict.fromkeys(contents(100, "b"), "b")
        splits = assign(labels, 0.15, 0.15, seed=seed, groups=in_groups(grouped, members))
        shares.update(splits[image] for image in grouped)
    expected = 20 * members * groups
    # The standard error is 0.011 for pairs, and 0.011 for groups of ten.
    assert shares["test"] / expected == pytest.approx(0.15, abs=0.04)
    assert shares["val"] / expected == pytest.approx(0.15, abs=0.04)


def test_groups_of_one_change_nothing() -> None:
    labels = {image: "ab"[number % 2] for number, image in enumerate(contents(200))}
    assert assign(labels, 0.2, 0.2, seed=7, groups=[[image] for image in labels]) == assign(
        labels, 0.2, 0.2, seed=7
    )


def test_a_group_larger_than_a_split_is_left_to_train() -> None:
    labels = dict.fromkeys(contents(50), "a") | dict.fromkeys(contents(50, "b"), "b")
    splits = assign(labels, 0.2, 0.2, seed=1, groups=[contents(30)])
    assert {splits[image] for image in contents(30)} == {"train"}
    assert counts(splits.values()) == {"train": 60, "val": 20, "test": 20}


def test_a_class_of_copies_of_one_image_is_too_small() -> None:
    labels = dict.fromkeys(contents(50), "a") | dict.fromkeys(contents(9, "b"), "b")
    with pytest.raises(SourceError, match="'b' has 1"):
        assign(labels, 0.2, 0.2, seed=1, groups=[contents(9, "b")])


def test_many_frames_of_one_still_camera_are_called_near_duplicates() -> None:
    labels = dict.fromkeys(contents(50), "a") | dict.fromkeys(contents(180, "b"), "still camera")
    with pytest.raises(
        SourceError, match=r"'still camera' has 1: its 180 images are near duplicates .* null none"
    ):
        assign(labels, 0.2, 0.2, seed=1, groups=[contents(180, "b")])


def test_classes_that_a_split_lacks_are_named() -> None:
    labels = {"1": "a", "2": "b", "3": "c", "4": "a"}
    splits: dict[str, Split] = {"1": "train", "2": "train", "3": "train", "4": "test"}
    assert absent_classes(labels, splits) == {"val": ["a", "b", "c"], "test": ["b", "c"]}
    assert absent_classes({"1": "a"}, {"1": "train"}) == {"val": ["a"], "test": ["a"]}
    with_train_val: dict[str, Split] = splits | {"4": "train_val"}
    assert absent_classes(labels, with_train_val)["train_val"] == ["b", "c"]
