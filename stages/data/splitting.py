"""Which image is for training, which for validation, which for the test: decided by content."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from stages.common.errors import SourceError
from stages.data.manifest import EVERY_SPLIT, TRAIN_VAL, Split, splits_among


def assign(
    labels: Mapping[str, str],
    val_fraction: float,
    test_fraction: float,
    seed: int,
    fixed: Mapping[str, Split] | None = None,
    groups: Sequence[Sequence[str]] = (),
    train_val_fraction: float = 0.0,
) -> dict[str, Split]:
    """Split images: stratified by class, and the same on every machine.

    Within a class, images are in the order of hash(seed, content); the first are the test split, the next
    the val split, the next train-val where it is asked for. So the names and the order of files play no
    role, one image is in one split, and every class has its share of each. Rejected: a threshold on the hash
    alone. It would never move an image when others are added (here about as many move as are added), but
    leaves small classes without test images.

    Each group goes to one split as a whole, as if it were one large image: it has the class and the place of
    its member with the lowest SHA-256. A group that a split has no room for goes to the next split.

    Args:
        labels: SHA-256 of each image → its class.
        val_fraction: Share of each class for val, between 0 and 1.
        test_fraction: Share of each class for test, between 0 and 1.
        seed: Another seed gives another split of the same sizes.
        fixed: SHA-256 of every image → the split that the source says, or None. Then only val or test, if
            there is none, is cut out of train. A group that the fixed splits cut stays cut, as results must
            be comparable with those of others.
        groups: Near duplicates, by their SHA-256.
        train_val_fraction: Share of each class's train images for train-val, from 0, which cuts none, to 1.

    Returns:
        SHA-256 → split, of every image.

    Raises:
        SourceError: Fewer than two classes, or classes with too few images to have one in every split.
    """
    chosen: dict[str, Split] = {digest: split for digest, split in (fixed or {}).items() if split != "train"}
    missing = shares_to_cut(val_fraction, test_fraction, train_val_fraction, set(chosen.values()))

    def place(digest: str) -> bytes:
        return hashlib.sha256(f"{seed}:{digest}".encode()).digest()

    grouped = {digest for group in groups for digest in group}
    units = [*groups, *([digest] for digest in labels if digest not in grouped)]
    # Every class is there, so that one without training images is counted, with none.
    classes: dict[str, list[list[str]]] = {label: [] for label in labels.values()}
    for unit in units:
        # By the digest alone: the first of m hashes comes before that of a single image, the more surely the
        # larger m is, so that groups would crowd into test and val, which are cut first.
        if free := sorted(digest for digest in unit if digest not in chosen):
            classes[labels[free[0]]].append(free)
    _check_counts(classes, list(missing))
    for members in classes.values():
        chosen.update(_cut(sorted(members, key=lambda unit: place(unit[0])), missing))
    return chosen


def shares_to_cut(
    val_fraction: float, test_fraction: float, train_val_fraction: float, named: Container[Split]
) -> dict[Split, float]:
    """The splits that are cut out of train, in their order, with their shares: those that no image names."""
    fractions: dict[Split, float] = {"test": test_fraction, "val": val_fraction}
    missing = {split: share for split, share in fractions.items() if split not in named}
    if train_val_fraction:
        # Last, so that it takes its images from train, and leaves test and val theirs.
        missing[TRAIN_VAL] = train_val_fraction
    return missing


def images_left(images: int, shares: Mapping[Split, float]) -> int:
    """How many images of a class are left for train, near duplicates aside.

    Args:
        images: Those of the class that no split is named for.
        shares: Of `shares_to_cut`.
    """
    if images <= len(shares):
        return 0
    return counts(split for _, split in _cut([[str(number)] for number in range(images)], shares))["train"]


def counts(splits: Iterable[Split]) -> dict[Split, int]:
    """How many images each split has; no train_val where it has none."""
    images = Counter(splits)
    return {split: images[split] for split in splits_among(images)}


def absent_classes(labels: Mapping[str, str], splits: Mapping[str, Split]) -> dict[Split, list[str]]:
    """The classes, sorted, without an image in a split; splits that lack no class are left out."""
    present = {(splits[digest], label) for digest, label in labels.items()}
    classes = sorted(set(labels.values()))
    absent = {
        split: [label for label in classes if (split, label) not in present]
        for split in splits_among(set(splits.values()))
    }
    return {split: names for split, names in absent.items() if names}


def similar_names(labels: Iterable[str]) -> list[list[str]]:
    """Groups of class names that differ by case or blanks alone: most probably one class, spelled twice."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for label in sorted(set(labels)):
        groups[" ".join(label.casefold().split())].append(label)
    return [names for names in groups.values() if len(names) > 1]


def _cut(units: Sequence[Sequence[str]], fractions: Mapping[Split, float]) -> Iterator[tuple[str, Split]]:
    """Give the first units that have room to the first of the splits, and so on; the rest is train."""
    images = sum(map(len, units))
    rest = list(units)
    for place, (split, fraction) in enumerate(fractions.items()):
        # Each later split, and train, gets one unit at least.
        max_units = len(rest) - (len(fractions) - place)
        if split == TRAIN_VAL:
            # The last one: its share is of train, which is what the others leave.
            images = sum(map(len, rest))
        chosen = _take(rest, max(1, round(images * fraction)), max_units)
        yield from ((digest, split) for unit in chosen for digest in unit)
        gone = {unit[0] for unit in chosen}
        rest = [unit for unit in rest if unit[0] not in gone]
    yield from ((digest, "train") for unit in rest for digest in unit)


def _take(units: Sequence[Sequence[str]], max_images: int, max_units: int) -> list[Sequence[str]]:
    """Take units in order, up to `max_units` and `max_images`; at least one unit."""
    chosen: list[Sequence[str]] = []
    for unit in units:
        if len(chosen) < max_units and len(unit) <= max_images:
            chosen.append(unit)
            max_images -= len(unit)
    return chosen or [min(units, key=len)]


def _check_counts(classes: Mapping[str, Sequence[Sequence[str]]], cut: Sequence[Split]) -> None:
    """Raise SourceError unless each class has a unit for train and for each split that is cut out of it."""
    if len(classes) < 2:
        names = ", ".join(map(repr, classes)) or "none"
        raise SourceError(f"a classifier needs at least 2 classes with readable images; found {names}")
    needed = len(cut) + 1
    small = [_described(label, units) for label, units in sorted(classes.items()) if len(units) < needed]
    if small:
        splits = ", ".join(split for split in EVERY_SPLIT if split == "train" or split in cut)
        raise SourceError(
            f"each class needs at least {needed} different readable images for {splits}: {', '.join(small)}"
        )


def _described(label: str, units: Sequence[Sequence[str]]) -> str:
    images = sum(map(len, units))
    if images == len(units):
        return f"{label!r} has {images}"
    # Sixty frames of one still camera are one image in that sense.
    return (
        f"{label!r} has {len(units)}: its {images} images are near duplicates of one another, and each group "
        "of near duplicates stays in one split (data/near_duplicates.csv lists them; a smaller "
        "ingest.near_duplicates.distance makes smaller groups, null none)"
    )
