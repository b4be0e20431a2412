"""Where labelled pictures come from: one file per kind of source.

A kind is a module with a `Params` class (`kind: Literal["NAME"]`) and a function
`pictures(params) -> Iterator[Picture]`. The file's name is its registration.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from stages import plugins
from stages.section import Section


def _relative_to_home(path: Path) -> Path:
    return path.expanduser()


SourcePath = Annotated[Path, Field(strict=False), AfterValidator(_relative_to_home)]


class SourceParams(Section):
    """What every source has: its kind and the path that DVC watches for changes."""

    kind: str
    path: SourcePath


@dataclass(frozen=True, slots=True)
class Picture:
    """One candidate file: not yet read (`path`) or already in memory (`data`), exactly one of the two.

    `name` is its POSIX path inside the source and `label` its class, or None where none can be told.
    """

    name: str
    label: str | None
    path: Path | None = None
    data: bytes | None = None

    def read(self) -> bytes:
        """The file's bytes. Raises OSError as reading a file does."""
        if self.path is not None:
            return self.path.read_bytes()
        return self.data or b""


def pictures(params: SourceParams) -> Iterator[Picture]:
    """All candidate files of a source, in an order that depends on the source alone.

    Raises SourceError when the source is missing or cannot be read at all.
    """
    found: Iterator[Picture] = plugins.module(__name__, params.kind).pictures(params)
    return found
