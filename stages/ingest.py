"""ingest: a source of labelled images → the manifest, the classes and the rejects."""

import csv
import posixpath
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from stages import cli
from stages.common import executor as executors
from stages.common import log
from stages.common.errors import SourceError
from stages.common.files import replace_atomically, write_json
from stages.data import blobs, candidates, frames, image_results, similarity, sources, splitting
from stages.data.candidates import Reject
from stages.data.image_results import Looks
from stages.data.manifest import SPLITS, Row, Split, write_manifest
from stages.data.sources import Image
from stages.params import Ingest, Resize


@cli.command(params="ingest", ahead="resize", samples="audit.samples")
def ingest(
    params: Ingest,
    ahead: Resize | None = None,
    samples: int = 0,
    *,
    manifest: Path,
    classes: Path,
    rejects: Path,
    near_duplicates: Path,
    blob: Path,
) -> None:
    """Read every file of the source, keep those that decode, and split them.

    The one decode of an image also gives what audit needs of it, and with `ahead` what resize needs: both
    take it from the store of image results. `ahead` and `samples` decide nothing that ingest writes, so DVC
    does not watch them.

    Args:
        params: Where the images come from, which are accepted, and how they are split.
        ahead: The params of resize, to resize each image in the same pass; None: not now.
        samples: The number of images of each class that audit will show, to store their thumbnails.
        manifest: The Parquet file to write, with one row per accepted image.
        classes: The JSON file to write, with the sorted class names.
        rejects: The CSV file to write, with the files that are left out and the reasons.
        near_duplicates: The CSV file to write, with the pairs of near duplicates.
        blob: The zip file to write, with the images of sources that are no files on disk.

    Raises:
        SourceError: The source is missing, a class is too small, or more files are rejected than
            `ingest.max_reject_fraction` allows (exact duplicates do not count).
    """
    with image_results.looks(ahead.view if ahead else None) as looks, blobs.create(blob) as add:
        rows, refused, files = _sift(_examined(params, looks, samples), add)
    _write_rejects(rejects, refused)
    _check_rejects(params, files, refused, rejects)
    groups = _near_duplicates(rows, params.near_duplicates.distance, near_duplicates)
    splits = splitting.assign(
        {row.sha256: row.label for row in rows},
        params.val_fraction,
        params.test_fraction,
        params.seed,
        fixed={row.sha256: row.split for row in rows} if params.split == "from_path" else None,
        groups=groups,
        train_val_fraction=params.train_val_fraction,
    )
    _warn(rows, splits)
    names = sorted({row.label for row in rows})
    write_manifest(manifest, rows, splits)
    write_json(classes, names)
    sizes = splitting.counts(splits.values())
    log.event(
        "ingested_images",
        images=len(rows),
        decoded=looks.decoded,
        classes=len(names),
        rejects=len(refused),
        groups=len(groups),
        **sizes,
    )


def _examined(params: Ingest, looks: Looks, samples: int) -> Iterator[tuple[Image, Row | Reject]]:
    with (
        image_results.file_digests() as digests,
        executors.opened(image_results.examined_follow_from) as executor,
        log.Progress("reading images", total=0, unit="image") as progress,
    ):
        examiner = candidates.Examiner(
            looks,
            digests if params.verify == "changed" else None,
            params.max_pixels,
            official=params.split == "from_path",
            hashed=params.near_duplicates.distance is not None,
            damaged=params.damaged == "accept",
            executor=executor,
            # Twice as many: where images go, others are shown.
            shown=candidates.LowestDigests(2 * samples),
        )
        work = partial(candidates.examine, examiner=examiner)
        batches = candidates.batches(sources.images(params.source))
        for results in executor.mapped(work, batches, size=candidates.size):
            progress.advance(len(results))
            yield from results


def _sift(
    examined: Iterable[tuple[Image, Row | Reject]], add: Callable[[str, bytes], int]
) -> tuple[list[Row], list[Reject], int]:
    """Separate rows from rejects, keep one of each set of duplicates, and store what is not on disk.

    Of duplicates the first stays, but an image in test before one in val before one in train, so that no
    image a member is judged on is trained on. Returns the rows in the source's order, the rejects, and the
    number of files.
    """
    rows: dict[str, Row] = {}
    refused: list[Reject] = []
    disputed: set[str] = set()
    files = 0
    for image, result in examined:
        files += 1
        if isinstance(result, Reject):
            refused.append(result)
        elif (first := rows.get(result.sha256)) is None:
            suffix = posixpath.splitext(image.name)[1]
            offset = add(f"{result.id}{suffix}", image.read()) if image.path is None else -1
            rows[result.sha256] = replace(result, offset=offset)
        elif first.label != result.label:
            disputed.add(result.sha256)
            detail = f"the same bytes as {first.path} of class {first.label!r}"
            refused.append(Reject(result.path, result.label, "conflict", detail))
        else:
            judged, copy = sorted((first, result), key=lambda row: SPLITS.index(row.split), reverse=True)
            rows[judged.sha256] = replace(judged, offset=first.offset)
            refused.append(Reject(copy.path, copy.label, "duplicate", f"the same bytes as {judged.path}"))
    for digest in sorted(disputed):
        row = rows.pop(digest)
        refused.append(Reject(row.path, row.label, "conflict", "also under another class"))
    return list(rows.values()), refused, files


def _near_duplicates(rows: list[Row], distance: int | None, path: Path) -> list[list[str]]:
    """List the pairs of images at most `distance` apart; return the sha256 of each group's members."""
    hashed = [row for row in rows if row.phash is not None and distance is not None]
    hashes = np.asarray([row.phash for row in hashed], np.uint64)
    pairs = similarity.close_pairs(hashes, distance or 0)
    with replace_atomically(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "other", "distance", "same_label"])
        for pair in pairs:
            first, second = hashed[pair.first], hashed[pair.second]
            same_label = str(first.label == second.label).lower()
            writer.writerow([first.path, second.path, pair.distance, same_label])
    members: defaultdict[int, list[str]] = defaultdict(list)
    for row, group in zip(hashed, similarity.groups(len(hashed), pairs), strict=True):
        members[group].append(row.sha256)
    return [group for group in members.values() if len(group) > 1]


def _warn(rows: list[Row], splits: dict[str, Split]) -> None:
    """Log what is accepted and yet spoils results."""
    if damaged := [row for row in rows if row.damage]:
        log.warning(
            "accepted_damaged_images", images=len(damaged), first=damaged[0].path, damage=damaged[0].damage
        )
    for names in splitting.similar_names(row.label for row in rows):
        log.warning("found_similar_class_names", names=", ".join(map(repr, names)))
    absent = splitting.absent_classes({row.sha256: row.label for row in rows}, splits)
    for split, labels in absent.items():
        log.warning("found_classes_without_images", split=split, classes=len(labels), first=labels[0])
    if films := frames.films_across_splits(rows, splits):
        log.warning("found_frames_of_films_in_several_splits", films=len(films), first=films[0].first)


def _write_rejects(path: Path, refused: Iterable[Reject]) -> None:
    with replace_atomically(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "reason", "detail"])
        writer.writerows([reject.path, reject.label, reject.reason, reject.detail] for reject in refused)


def _check_rejects(params: Ingest, files: int, refused: list[Reject], listed_in: Path) -> None:
    if not files:
        raise SourceError(f"ingest.source.path: {params.source.path} holds no files")
    counted = [reject for reject in refused if reject.reason != "duplicate"]
    if len(counted) > params.max_reject_fraction * files:
        first = counted[0]
        raise SourceError(
            f"{len(counted)} of {files} files cannot be used, more than ingest.max_reject_fraction = "
            f"{params.max_reject_fraction}; the first is {first.path!r}: {first.detail}; "
            f"all are in {listed_in}"
        )
    if refused:
        reasons = Counter[str](reject.reason for reject in refused)
        log.warning("rejected_files", **reasons, listed_in=listed_in)


if __name__ == "__main__":
    cli.main(ingest)
