"""Where labelled images come from: one file per kind of source.

A kind is a module with a `Params` class (`kind: Literal["NAME"]`) and a function
`images(params) -> Iterator[Image]`. The file's name is its registration.
"""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from stages.common import plugins
from stages.common.section import Section

if TYPE_CHECKING:
    # Every stage checks the params and thus imports the sources; few of them need pyarrow.
    from stages.data.manifest import Split

# A film or a disk image among the images must not be read into memory only to be refused.
MAX_BYTES = 2**30
TOO_LARGE = f"larger than the {MAX_BYTES} bytes an image may have"


def _without_home(path: Path) -> Path:
    """Refuse `~`: DVC, which watches the same path, takes it for the name of a folder."""
    if path.parts[:1] and path.parts[0].startswith("~"):
        raise PydanticCustomError("home", "~ is not expanded; write the whole path")
    return path


SourcePath = Annotated[Path, Field(strict=False), AfterValidator(_without_home)]


class SourceParams(Section):
    """What every source has: its kind and the path that DVC watches for changes."""

    kind: str
    path: SourcePath


@dataclass(frozen=True, slots=True)
class Image:
    """One candidate file: not yet read (`path`), already in memory (`data`) or not to be read (`problem`).

    `name` is its POSIX path inside the source and `label` its class, or None where none can be told.
    `split` is what the source itself says, and None where only the folders in `name` may say it.
    """

    name: str
    label: str | None
    path: Path | None = None
    data: bytes | None = None
    problem: str | None = None
    split: "Split | None" = None

    def read(self) -> bytes:
        """The file's bytes. Raises OSError, also for what would block or fill the memory."""
        if self.path is None:
            return self.data or b""
        facts = self.path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise OSError("not a regular file")
        if facts.st_size > MAX_BYTES:
            raise OSError(TOO_LARGE)
        return self.path.read_bytes()


def images(params: SourceParams) -> Iterator[Image]:
    """All candidate files of a source, in an order that depends on the source alone.

    Raises SourceError when the source is missing or cannot be read at all.
    """
    found: Iterator[Image] = plugins.module(__name__, params.kind).images(params)
    return found
