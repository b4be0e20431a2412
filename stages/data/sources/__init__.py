"""Where labelled images come from: one module per kind of source.

A kind is a module in this package with two names; its file's name is its registration::

    class Params(SourceParams):
        kind: Literal["NAME"]          # the file is NAME.py

    def images(params: Params) -> Iterator[Image]: ...

Example of the smallest source::

    def images(params: Params) -> Iterator[Image]:
        for path in sorted(params.path.glob("*.png")):
            yield Image(path.name, label=path.name[0], path=path)

`images` raises SourceError where the source as a whole cannot be read. A file that cannot be used is a
candidate with a `problem`, so that ingest lists it among the rejects; nothing is left out without a word,
except what operating systems leave behind (`_naming.is_ignored`).
"""

import stat
import unicodedata
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
    """What every source has.

    Attributes:
        kind: The module in this package.
        path: What DVC watches for changes: a file or a folder; `~` is not expanded.
    """

    kind: str
    path: SourcePath


@dataclass(frozen=True, slots=True)
class Image:
    """One candidate file: not yet read (`path`), already in memory (`data`) or not to be read (`problem`).

    Attributes:
        name: POSIX path inside the source; the manifest's `path`.
        label: The class, or None where nothing says it; kept in Unicode's composed form (NFC).
        path: The file on disk, read when it is needed.
        data: The bytes, of a source that is no folder of files.
        problem: Why the file cannot be used; it is not read then.
        split: What the source itself says; None where only the folders in `name` may say it.
    """

    name: str
    label: str | None
    path: Path | None = None
    data: bytes | None = None
    problem: str | None = None
    split: "Split | None" = None

    def __post_init__(self) -> None:
        # Here, as all that counts classes must count alike: macOS writes names decomposed, other systems do
        # not, and one class would be two.
        if self.label is not None:
            object.__setattr__(self, "label", unicodedata.normalize("NFC", self.label))

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            OSError: The file cannot be read, would block (a pipe) or would fill the memory.
        """
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

    Args:
        params: The section `ingest.source`.

    Raises:
        SourceError: The source is missing or cannot be read at all.
    """
    candidates: Iterator[Image] = plugins.module(__name__, params.kind).images(params)
    return candidates
