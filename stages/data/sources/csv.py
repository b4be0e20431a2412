"""A table that names the images and their classes, and perhaps their splits."""

import csv
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

from stages.common.errors import SourceError
from stages.data.sources import Image, SourceParams
from stages.data.sources._naming import SPLIT_NAMES
from stages.data.sources._walk import check_folder


class Params(SourceParams):
    """`path` is the folder of table and images, all of which DVC watches; `table` is the CSV file in it.

    Its first line names the columns: path (relative to the table), label, and split where there is one.
    """

    kind: Literal["csv"]
    table: str


def images(params: Params) -> Iterator[Image]:
    """One candidate per line, in the table's order; other columns than the three play no role.

    Raises SourceError for a missing table, missing columns, a broken line and an unknown split.
    """
    check_folder(params.path)
    table = params.path / params.table
    try:
        # -sig: spreadsheets begin their files with a byte order mark.
        with table.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file, skipinitialspace=True)
            columns = lines.fieldnames or ()
            if not {"path", "label"} <= set(columns):
                found = ", ".join(columns) or "nothing"
                raise SourceError(f"{table}: the first line must name columns path and label, not {found}")
            for line in lines:
                yield _image(line, params, f"{table}, line {lines.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"ingest.source.table: {table} cannot be read: {error}") from None


def _image(line: Mapping[str, str | None], params: Params, where: str) -> Image:
    # A short line has None where a column is missing.
    path, label, split = ((line.get(column) or "").strip() for column in ("path", "label", "split"))
    if split and split.casefold() not in SPLIT_NAMES:
        raise SourceError(f"{where}: split is {split!r}; allowed: {', '.join(SPLIT_NAMES)}, or nothing")
    name = posixpath.normpath(PurePosixPath(params.table).parent / path)
    if not path or name.startswith(("/", "../")):
        problem = f"{where}: {'no path' if not path else f'outside of {params.path}'}"
        return Image(path, label, problem=problem)
    return Image(name, label, path=Path(params.path, name), split=SPLIT_NAMES.get(split.casefold()))
