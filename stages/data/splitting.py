"""Which picture is for training, which for validation, which for the test: decided by content."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from stages.data.manifest import SPLITS, Split
from stages.errors import SourceError


def assign(
    labels: Mapping[str, str],
    val_fraction: float,
    test_fraction: float,
    seed: int,
    given: Mapping[str, Split] | None = None,
) -> dict[str, Split]:
    """Split pictures, given the label of each sha256: stratified, and the same on every machine.

    Within a class, pictures stand in the order of hash(seed, content); the first part is the test split,
    the next the val split. So the names and the order of files play no role, one picture is in one split,
    and every class has its share of each. An alternative, a threshold on the hash alone, would never move a
    picture when others are added (here about as many move as are added), but leaves small classes
    without test pictures.

    Where `given` says the split of every picture, only val or test, if it has none, is cut out of train.
    Raises SourceError naming each class with too few pictures to have one in every split.
    """
    chosen: dict[str, Split] = {digest: split for digest, split in (given or {}).items() if split != "train"}
    fractions: dict[Split, float] = {"test": test_fraction, "val": val_fraction}
    missing = {split: part for split, part in fractions.items() if split not in chosen.values()}
    classes: defaultdict[str, list[str]] = defaultdict(list)
    for digest, label in labels.items():
        # Asked for, so that a class without training pictures is counted, with none.
        digests = classes[label]
        if digest not in chosen:
            digests.append(digest)
    _check_counts({label: len(digests) for label, digests in classes.items()}, list(missing))
    for digests in classes.values():
        order = sorted(digests, key=lambda digest: hashlib.sha256(f"{seed}:{digest}".encode()).digest())
        chosen.update(_cut(order, missing))
    return chosen


def counts(splits: Iterable[Split]) -> dict[Split, int]:
    """How many pictures each split has."""
    listed = list(splits)
    return {split: listed.count(split) for split in SPLITS}


def _cut(order: Sequence[str], fractions: Mapping[Split, float]) -> Iterator[tuple[str, Split]]:
    """The first pictures for the first of the splits, and so on; the rest is train."""
    start = 0
    for place, (split, fraction) in enumerate(fractions.items()):
        # Each later split, and train, gets one at least.
        most = len(order) - start - (len(fractions) - place)
        size = min(max(1, round(len(order) * fraction)), most)
        yield from ((digest, split) for digest in order[start : start + size])
        start += size
    yield from ((digest, "train") for digest in order[start:])


def _check_counts(pictures: Mapping[str, int], cut: Sequence[Split]) -> None:
    if len(pictures) < 2:
        found = ", ".join(map(repr, pictures)) or "none"
        raise SourceError(f"a classifier needs at least 2 classes with readable pictures; found {found}")
    needed = len(cut) + 1
    small = [f"{label!r} has {number}" for label, number in sorted(pictures.items()) if number < needed]
    if small:
        splits = ", ".join(split for split in SPLITS if split == "train" or split in cut)
        raise SourceError(
            f"each class needs at least {needed} different readable pictures for {splits}: {', '.join(small)}"
        )
