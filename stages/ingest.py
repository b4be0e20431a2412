"""ingest: a source of labelled pictures → the manifest, the classes and the rejects."""

import csv
import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from stages import cli, log
from stages.data import blobs, images, sources, splitting
from stages.data.manifest import Row, write_manifest
from stages.data.sources import Picture
from stages.errors import PictureError, SourceError
from stages.files import replacing, write_json
from stages.parallel import mapped
from stages.params import Ingest

DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Reject:
    """A file that is left out: where it is, the label it would have had, the kind of reason, the details."""

    path: str
    label: str
    reason: str
    detail: str


@cli.stage(params="ingest")
def ingest(params: Ingest, *, manifest: Path, classes: Path, rejects: Path, blob: Path) -> None:
    """Read every file of the source, keep those that decode, and split them.

    Writes the manifest (Parquet), the sorted class names (JSON), the rejects with their reasons (CSV) and,
    for sources that are no files on disk, the pictures themselves (`blob`, a zip).
    Raises SourceError when the source is missing, a class is too small, or more files are rejected than
    `ingest.max_reject_fraction` allows (exact duplicates do not count).
    """
    with blobs.writing(blob) as add:
        rows, refused, seen = _sift(_examined(sources.pictures(params.source)), add)
    _write_rejects(rejects, refused)
    _check_rejects(params, seen, refused, rejects)
    splits = splitting.assign(
        {row.sha256: row.label for row in rows}, params.val_fraction, params.test_fraction, params.seed
    )
    rows = [replace(row, split=splits[row.sha256]) for row in rows]
    names = sorted({row.label for row in rows})
    write_manifest(manifest, rows)
    write_json(classes, names)
    sizes = splitting.counts(splits.values())
    log.event("ingested", pictures=len(rows), classes=len(names), rejects=len(refused), **sizes)


def _examined(pictures: Iterable[Picture]) -> Iterator[tuple[Picture, bytes, Row | Reject]]:
    with log.Progress("reading pictures", total=0, unit="picture") as progress:
        for result in mapped(_examine, pictures):
            progress.advance()
            yield result


def _examine(picture: Picture) -> tuple[Picture, bytes, Row | Reject]:
    """Read and decode one file; its bytes are handed on only where they must be kept in the blob."""
    label = unicodedata.normalize("NFC", picture.label or "")
    try:
        picture.name.encode()
    except UnicodeEncodeError:
        shown = picture.name.encode(errors="surrogateescape").decode(errors="backslashreplace")
        return picture, b"", Reject(shown, "", "name", "the file name is not valid UTF-8")
    if not label:
        return picture, b"", Reject(picture.name, "", "label", "no class can be told from the name or folder")
    try:
        data = picture.read()
        facts = images.inspect(data)
    except PictureError as error:
        return picture, b"", Reject(picture.name, label, "picture", str(error))
    except OSError as error:
        return picture, b"", Reject(picture.name, label, "file", error.strerror or str(error))
    digest = hashlib.sha256(data).hexdigest()
    row = Row(
        id=digest[:16],
        path=picture.name,
        label=label,
        split="train",
        sha256=digest,
        width=facts.width,
        height=facts.height,
        channels=facts.channels,
        plain=facts.plain,
        offset=-1,
        bytes=len(data),
    )
    return picture, data if picture.path is None else b"", row


def _sift(
    examined: Iterable[tuple[Picture, bytes, Row | Reject]], add: Callable[[str, bytes], int]
) -> tuple[list[Row], list[Reject], int]:
    """Separate rows from rejects, keep one of each set of duplicates, and store what is not on disk.

    Returns the rows in the source's order, the rejects, and how many files there were.
    """
    kept: dict[str, Row] = {}
    refused: list[Reject] = []
    disputed: set[str] = set()
    seen = 0
    for picture, data, result in examined:
        seen += 1
        if isinstance(result, Reject):
            refused.append(result)
        elif (first := kept.get(result.sha256)) is None:
            suffix = PurePosixPath(picture.name).suffix
            offset = add(f"{result.id}{suffix}", data) if picture.path is None else -1
            kept[result.sha256] = replace(result, offset=offset)
        elif first.label == result.label:
            detail = f"the same bytes as {first.path}"
            refused.append(Reject(result.path, result.label, DUPLICATE, detail))
        else:
            disputed.add(result.sha256)
            refused.append(_dispute(result, first))
    refused += [_dispute(kept[digest], None) for digest in sorted(disputed)]
    return [row for digest, row in kept.items() if digest not in disputed], refused, seen


def _dispute(row: Row, other: Row | None) -> Reject:
    detail = (
        f"the same bytes as {other.path} of class {other.label!r}" if other else "also under another class"
    )
    return Reject(row.path, row.label, "conflict", detail)


def _write_rejects(path: Path, refused: Iterable[Reject]) -> None:
    with replacing(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "reason", "detail"])
        writer.writerows([one.path, one.label, one.reason, one.detail] for one in refused)


def _check_rejects(params: Ingest, seen: int, refused: list[Reject], listed_in: Path) -> None:
    if not seen:
        raise SourceError(f"ingest.source.path: {params.source.path} holds no files")
    counted = [one for one in refused if one.reason != DUPLICATE]
    if len(counted) > params.max_reject_fraction * seen:
        first = counted[0]
        raise SourceError(
            f"{len(counted)} of {seen} files cannot be used, more than ingest.max_reject_fraction = "
            f"{params.max_reject_fraction}; the first is {first.path}: {first.detail}; all are in {listed_in}"
        )
    if refused:
        log.warning("files left out", **Counter(one.reason for one in refused), listed_in=listed_in)


if __name__ == "__main__":
    cli.main(ingest)
