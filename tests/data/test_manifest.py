"""The manifest: what is written is read, and what is no manifest is named."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.common.errors import StoreError
from stages.data.manifest import Manifest, Row, write_manifest


def row(number: int, label: str = "cat") -> Row:
    digest = f"{number:016x}".ljust(64, "0")
    return Row(f"{label}/{number}.png", label, "train", digest, 8, 9, 3, True, number, -1, 100)


def write(path: Path, rows: list[Row]) -> None:
    write_manifest(path, rows, {row.sha256: row.split for row in rows})


def test_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    rows = [row(3, "Übergröße"), row(1, "two words"), row(2)]
    write(tmp_path / "manifest.parquet", rows)
    table = Manifest.read(tmp_path / "manifest.parquet")
    assert table.rows() == rows
    assert len(table) == 3
    assert table.strings("label").tolist() == ["Übergröße", "two words", "cat"]
    assert table.labels(["cat", "two words", "Übergröße"]) == {
        rows[0].id: 2,
        rows[1].id: 1,
        rows[2].id: 0,
    }


def test_one_long_name_costs_the_other_rows_nothing(tmp_path: Path) -> None:
    """NumPy's own texts take as many characters in every row as the longest has."""
    write(tmp_path / "manifest.parquet", [row(1, "x" * 1000), *map(row, range(2, 100))])
    table = Manifest.read(tmp_path / "manifest.parquet")
    assert table.strings("label").nbytes <= 8 * 99
    assert table.strings("path").nbytes <= 8 * 99


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, [row(1), row(2)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_files_with_the_same_images_in_another_order_are_refused(tmp_path: Path) -> None:
    rows = [row(1), row(2)]
    write(tmp_path / "manifest.parquet", rows)
    table = Manifest.read(tmp_path / "manifest.parquet")
    table.require(np.asarray([image.id for image in rows]), tmp_path / "resized.h5")
    with pytest.raises(StoreError, match=r"resized\.h5 holds other images"):
        table.require(np.asarray([image.id for image in rows[::-1]]), tmp_path / "resized.h5")


def test_a_file_that_is_no_manifest_is_named(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    with pytest.raises(StoreError, match=r"manifest\.parquet is not a readable manifest"):
        Manifest.read(path)
    path.write_text("no parquet")
    with pytest.raises(StoreError, match="not a readable manifest"):
        Manifest.read(path)
    pq.write_table(pa.table({"id": ["1"]}), path)
    with pytest.raises(StoreError, match="other columns than a manifest of this version; run ingest again"):
        Manifest.read(path)
