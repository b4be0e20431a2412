"""What a process without free descriptors cannot read is not called missing, damaged or changed."""

import errno
import hashlib
import resource
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from stages import audit
from stages.common.errors import SourceError, exit_status
from stages.data import blobs, decoding, store
from stages.data.manifest import Manifest, Row, write_manifest
from stages.data.sources import _walk, archive, arrays, csv, folder, images, tiny_imagenet
from stages.data.sources._png import png
from stages.params import Drift
from tests.project import NO_REFERENCE

PIXELS = png(np.full((8, 8, 3), 99, np.uint8))
ROW = Row("cat/1.png", "cat", "train", hashlib.sha256(PIXELS).hexdigest(), 8, 8, 3, True, 1, -1, len(PIXELS))

DRIFT = Drift(reference=NO_REFERENCE, warn=0.1, stop=0.2, false_alarms=0.01)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let no file be opened, as in a process whose limit is used up."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(PIXELS)
    (tmp_path / "labels.csv").write_text("path,label\ncat/1.png,cat\n")
    write_manifest(tmp_path / "manifest.parquet", [ROW], {ROW.sha256: "train"})
    with store.create(tmp_path / "rows.h5", "images", (1, 2), "u1", ids=["a"], provenance={}) as out:
        out.write(0, np.zeros((1, 2), np.uint8))
    np.savez(tmp_path / "arrays.npz", images=np.zeros((2, 4, 4), np.uint8), labels=np.arange(2))
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as members:
        members.writestr("cat/1.png", PIXELS)
    return tmp_path


READERS: dict[str, Callable[[Path], object]] = {
    "manifest": lambda root: Manifest.read(root / "manifest.parquet"),
    "store": lambda root: store.Reader(root / "rows.h5").close(),
    "table": lambda root: list(images(csv.Params(kind="csv", path=root, table="labels.csv"))),
    "arrays": lambda root: list(images(arrays.Params(kind="arrays", path=root / "arrays.npz"))),
    "archive": lambda root: list(images(archive.Params(kind="archive", path=root / "images.zip"))),
    "annotations": lambda root: tiny_imagenet._annotations(root / "labels.csv"),
    "folder": lambda root: list(images(folder.Params(kind="folder", path=root))),
    "for dvc": _walk.check_for_dvc,
    "reference": lambda _: audit._compare(DRIFT, {}),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_retry_may_open_the_file(root: Path, reader: str) -> None:
    READERS[reader](root)
    with pytest.raises(OSError, match="Too many open files") as stop, no_descriptors():
        READERS[reader](root)
    assert (stop.value.errno, exit_status(stop.value)) == (errno.EMFILE, 75)


def test_an_image_that_cannot_be_opened_now_has_not_changed(root: Path) -> None:
    """The message was: the source has changed, run ingest again."""
    with blobs.ImageReader(root, root / "images.zip") as reader:
        assert reader.read_unchanged(ROW) == PIXELS
        with pytest.raises(OSError, match="Too many open files"), no_descriptors():
            reader.read_unchanged(ROW)
        (root / "cat" / "1.png").unlink()
        with pytest.raises(SourceError, match="run ingest again"):
            reader.read_unchanged(ROW)


@pytest.mark.parametrize("read", [decoding.inspect, decoding.decode])
def test_an_image_that_memory_does_not_suffice_for_is_not_broken(
    monkeypatch: pytest.MonkeyPatch, read: Callable[..., object]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decoding, "_finished", fail)
    last = (
        {"max_pixels": 100, "hashed": False} if read is decoding.inspect else {"color": "rgb", "plain": False}
    )
    with pytest.raises(MemoryError):
        read(PIXELS, **last)
