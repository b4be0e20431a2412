"""A table that names the images and their classes, and perhaps their splits."""

import csv
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

from stages.common.errors import SourceError, raise_if_transient
from stages.data.sources import Image, SourceParams
from stages.data.sources._naming import SPLIT_NAMES
from stages.data.sources._walk import check_folder, exists

_NEEDED = {"path", "label"}
# C:\images\1.jpg, which names no file here.
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class Params(SourceParams):
    """A folder with a table.

    Attributes:
        path: The folder of table and images, all of which DVC watches.
        table: The CSV file in it. Its first line names the columns: path (relative to the table), label, and
            split where there is one.
    """

    kind: Literal["csv"]
    table: str


def images(params: Params) -> Iterator[Image]:
    """One candidate per line, in the table's order; other columns than path, label and split play no role.

    Where the table has the column `split`, an empty cell is train.

    Quotes are read strictly. A stray quote would join all lines up to the next one; so a record of several
    lines is refused, unless it is the name of a file that exists.

    Raises:
        SourceError: The table or columns are missing, a line is broken, or a split is unknown; the message
            has the number of the line.
    """
    check_folder(params.path)
    table = params.path / params.table
    line = 0
    try:
        # -sig: spreadsheets begin their files with a byte order mark.
        with table.open(newline="", encoding="utf-8-sig") as file:
            records = csv.reader(file, skipinitialspace=True, strict=True)
            columns = next(records, [])
            _check_columns(columns, table)
            line = records.line_num
            for record in records:
                first, line = line + 1, records.line_num
                if record:
                    yield _image(_cells(columns, record, table, first, line, params), params, table, first)
    except (OSError, UnicodeDecodeError) as error:
        raise_if_transient(error)
        raise SourceError(f"ingest.source.table: {table} cannot be read: {error}") from None
    except csv.Error as error:
        raise SourceError(
            f"ingest.source.table: {table} cannot be read: {error}, "
            f"in the record that begins in line {line + 1}"
        ) from None


def _check_columns(columns: list[str], table: Path) -> None:
    if not set(columns) >= _NEEDED:
        named = ", ".join(columns) or "nothing"
        raise SourceError(f"{table}: the first line must name columns path and label, not {named}")
    if repeated := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise SourceError(f"{table}: the first line names {', '.join(repeated)} more than once")


def _cells(
    columns: list[str], record: list[str], table: Path, first: int, last: int, params: Params
) -> dict[str, str]:
    """Column → value. Raises SourceError for more values than columns, and for joined lines."""
    if any(cell.strip() for cell in record[len(columns) :]):
        raise SourceError(
            f"{table}, line {first}: {len(record)} values for {len(columns)} columns; "
            "a value with a comma must be in quotes"
        )
    # A short line has nothing where a column is missing.
    cells = dict.fromkeys(columns, "") | dict(zip(columns, record, strict=False))
    if last > first:
        others = [value for name, value in cells.items() if name != "path"]
        joined = any("\n" in value or "\r" in value for value in others)
        if joined or not exists(Path(params.path, _name(params, cells.get("path", "")))):
            raise SourceError(
                f"{table}, line {first}: a quote joins it with the lines up to {last}; "
                "remove the quote, or the line breaks in the value"
            )
    return cells


def _image(cells: Mapping[str, str], params: Params, table: Path, line: int) -> Image:
    path, label, split = (cells.get(column, "").strip() for column in ("path", "label", "split"))
    where = f"{table}, line {line}"
    if split and split.casefold() not in SPLIT_NAMES:
        raise SourceError(
            f"{where}: split is {split!r}; allowed: {', '.join(SPLIT_NAMES)}, or nothing, which is train"
        )
    name = _name(params, path)
    problem = None
    if not path:
        problem = "no path"
    elif _DRIVE.match(path):
        problem = "an absolute path of Windows; write it relative to the table"
    elif name.startswith(("/", "../")):
        problem = f"outside of {params.path}"
    if problem:
        return Image(path, label, problem=f"{where}: {problem}")
    # An empty cell of the column is train: of tables that name the test images alone.
    named = SPLIT_NAMES[split.casefold()] if split else "train" if "split" in cells else None
    return Image(name, label, path=Path(params.path, name), split=named)


def _name(params: Params, path: str) -> str:
    """The POSIX path inside the source.

    A backslash separates folders, as on Windows, unless a file has it in its name.
    """
    folder = PurePosixPath(params.table).parent
    if "\\" in path and not exists(Path(params.path, folder, path)):
        path = path.replace("\\", "/")
    return posixpath.normpath(folder / path)
