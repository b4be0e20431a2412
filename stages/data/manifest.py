"""The manifest: one row per accepted image, as Parquet; all that later stages need to know of the images."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stages.common.errors import StoreError, raise_if_transient
from stages.common.files import replace_atomically

# Arrow's own allocator takes 27 MB for a manifest of 1.6 MB and keeps it; the system's takes 5.
pa.set_memory_pool(pa.system_memory_pool())

Split = Literal["train", "train_val", "val", "test"]
# Held out of train: only data with `ingest.train_val_fraction` have it.
TRAIN_VAL: Split = "train_val"
EVERY_SPLIT: tuple[Split, ...] = get_args(Split)
# The splits that all data have.
SPLITS: tuple[Split, ...] = tuple(split for split in EVERY_SPLIT if split != TRAIN_VAL)
# The splits that members are judged on. Members are never judged or weighted on what they were fitted on.
HELD_OUT: tuple[Split, ...] = ("val", "test")

# The books' rule of thumb for training a network from scratch: 1,000 to 5,000 images per class. With fewer,
# features of a pretrained network do better.
ENOUGH_PER_CLASS = 1000

# Rows made from the table together, as the shard of a stage: a Row takes two kilobytes.
ROWS_TOGETHER = 16

SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # the first 16 hex digits of sha256: the same image has the same id anywhere
        ("path", pa.string()),  # inside the source, POSIX
        ("label", pa.string()),
        ("split", pa.string()),
        ("sha256", pa.string()),  # of the file's bytes
        ("width", pa.int32()),  # upright, in pixels
        ("height", pa.int32()),
        ("channels", pa.int8()),  # as in the file
        ("plain", pa.bool_()),  # decoded without Pillow, see decoding.Facts
        ("phash", pa.uint64()),  # perceptual hash, or null: of one colour, see similarity.py
        ("offset", pa.int64()),  # of its bytes in the blob file, or -1: read `path` in the source
        ("bytes", pa.int64()),
    ]
)


def splits_among(names: Container[str]) -> tuple[Split, ...]:
    """The splits of data that have these: train, val and test in any case, train_val where it is named."""
    return EVERY_SPLIT if TRAIN_VAL in names else SPLITS


@dataclass(frozen=True, slots=True)
class Row:
    """One accepted image; the fields and `id` are the columns of SCHEMA.

    `damage` is no column: only ingest counts damaged images.
    """

    path: str
    label: str
    split: Split
    sha256: str
    width: int
    height: int
    channels: int
    plain: bool
    phash: int | None
    offset: int
    bytes: int
    damage: str | None = None

    @property
    def id(self) -> str:
        """The first 16 hex digits of `sha256`."""
        return self.sha256[:16]


def write_manifest(path: Path, rows: Sequence[Row], splits: Mapping[str, Split]) -> None:
    """Write the rows in the given order, each with the split that `splits` has for its sha256."""
    columns = [pa.array([getattr(row, field.name) for row in rows], field.type) for field in SCHEMA]
    columns[SCHEMA.names.index("split")] = pa.array([splits[row.sha256] for row in rows], pa.string())
    with replace_atomically(path) as aside:
        pq.write_table(pa.table(columns, schema=SCHEMA), aside, compression="zstd")


@dataclass(frozen=True)
class Manifest:
    """A manifest in memory: one table, and the columns that stages ask for as arrays."""

    table: pa.Table

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest.

        Raises:
            StoreError: The file is missing, is no manifest, or is one of another version.
        """
        try:
            # Not read_table, which imports pandas: 1.2 s at every start of a stage.
            table = pq.ParquetFile(path).read()
        except (OSError, pa.ArrowInvalid) as error:
            raise_if_transient(error)
            raise StoreError(f"{path} is not a readable manifest: {error}") from None
        if table.schema.remove_metadata() != SCHEMA:
            raise StoreError(f"{path} has other columns than a manifest of this version; run ingest again")
        return cls(table)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def strings(self, column: Literal["id", "path", "label", "split", "sha256"]) -> NDArray[Any]:
        """A column of text as an array of str.

        Paths and labels as objects: NumPy's own texts take four bytes for each character of the longest, in
        every row. One path of 1,000 characters among 1,000,000 cost 4 GB.
        """
        return np.asarray(self.table[column].to_pylist(), object if column in ("path", "label") else np.str_)

    def require(self, ids: NDArray[np.str_], where: Path) -> None:
        """Raise StoreError unless a file's rows are exactly this manifest's images in its order."""
        if not np.array_equal(ids, self.strings("id")):
            raise StoreError(f"{where} holds other images than the manifest; run resize again")

    def rows(self, start: int = 0, count: int | None = None) -> list[Row]:
        """Images as Rows, in the manifest's order: a few at a time, as a Row takes two kilobytes."""
        return [Row(**values) for values in self.table.drop_columns("id").slice(start, count).to_pylist()]

    def shards(self) -> Iterator[list[Row]]:
        """Every image, in order, a few at a time."""
        for start in range(0, len(self), ROWS_TOGETHER):
            yield self.rows(start, ROWS_TOGETHER)

    def labels(self, classes: Sequence[str]) -> dict[str, int]:
        """The class index of each image by its id."""
        index = {name: number for number, name in enumerate(classes)}
        pairs = zip(self.strings("id").tolist(), self.strings("label").tolist(), strict=True)
        return {identity: index[label] for identity, label in pairs}
