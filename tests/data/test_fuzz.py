"""No crash, no hang, no memory without bound, whatever bytes come in.

CONVOY_FUZZ_INPUTS says how many inputs of each kind, for a longer run. docs/images.md has the figures of the
last one.
"""

import csv as python_csv
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as any_
from PIL import Image

from stages.common.errors import ConvoyError
from stages.data.decoding import inspect
from stages.data.sources import csv
from tests.data import fuzz_seeds

ROOT = Path(__file__).parents[2]
INPUTS = int(os.environ.get("CONVOY_FUZZ_INPUTS", "300"))
SECONDS, MEBIBYTES = 5, 1024


@pytest.mark.slow
def test_damaged_inputs_are_refused_quickly_and_in_little_memory(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.data.fuzz", str(INPUTS)]
    place = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(words, cwd=ROOT, env=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    for kind, figures in report.items():
        assert not figures["errors"], kind
        assert figures["slowest"] < SECONDS, kind
        assert figures["peak"] < MEBIBYTES, kind
        # The changes are large enough to be noticed, and small enough to leave some inputs whole.
        assert 0 < figures["refusals"] <= figures["inputs"], kind


BOMB = """
import io, sys
from PIL import Image
from stages.common.errors import ImageError
from stages.data.decoding import inspect
kind, mode, width, height = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
file = io.BytesIO()
Image.new(mode, (width, height)).save(file, kind)
data = file.getvalue()
assert len(data) < 2**20, len(data)
try:
    inspect(data, 200_000_000, hashed=True)
except ImageError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "mode"), [("PNG", "L"), ("PNG", "1"), ("GIF", "L"), ("WEBP", "RGB")])
def test_a_small_file_of_many_pixels_is_refused_by_its_header(kind: str, mode: str) -> None:
    """WebP allows 16,383 pixels a side only."""
    width, height = (16_000, 12_000) if kind != "WEBP" else (16_000, 5_000)
    words = [sys.executable, "-c", BOMB, kind, mode, str(width), str(height)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{width}x{height} pixels in" in done.stdout
    assert "a decompression bomb" in done.stdout


def test_a_damaged_png_is_not_decoded_by_the_size_that_a_chunk_claims() -> None:
    """OpenCV would take 2 GiB for it."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    data = bytearray(file.getvalue())
    start = data.index(b"IDAT") - 4
    data[start : start + 4] = (2**31 - 2**20).to_bytes(4, "big")
    facts = inspect(bytes(data), 10**6, hashed=False, damaged=True)
    assert facts.damage == "damaged PNG: chunk IDAT is cut off"
    assert not facts.plain


BOMB_SIZE = 320 * 2**20
ARCHIVE_BOMB = """
import sys
from pathlib import Path
from stages.common.errors import ConvoyError
from stages.common.machine import peak_memory
from stages.data.sources import archive
try:
    for image in archive.images(archive.Params(kind="archive", path=Path(sys.argv[1]))):
        pass
except ConvoyError as error:
    print(error)
print(peak_memory())
"""


def many_members(path: Path) -> None:
    """Each below the limit of one member."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for number in range(10):
            out.writestr(f"cat/{number}.png", bytes(2**25))


def a_large_member(path: Path) -> None:
    """It is not read, and yet unpacked to reach the next."""
    path.write_bytes(fuzz_seeds.bzip2_bomb(BOMB_SIZE))


def a_large_header(path: Path) -> None:
    """tarfile reads a long name into memory as a whole."""
    path.write_bytes(fuzz_seeds.bzip2_bomb(BOMB_SIZE, tarfile.GNUTYPE_LONGNAME))


def many_holes(path: Path) -> None:
    """Sparse members of 60 MB in half a kilobyte each."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as out:
        for number in range(10):
            entry = tarfile.TarInfo(f"cat/{number}.png")
            size = str(60_000_000)
            entry.pax_headers = {"GNU.sparse.map": f"{size},0", "GNU.sparse.size": size}
            out.addfile(entry)


@pytest.mark.slow
@pytest.mark.parametrize("write", [many_members, a_large_member, a_large_header, many_holes])
def test_a_small_archive_of_many_bytes_is_refused(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "archive"
    write(path)
    assert path.stat().st_size < 2**20
    words = [sys.executable, "-c", ARCHIVE_BOMB, str(path)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    refusal, peak = done.stdout.splitlines()
    assert "an archive bomb" in refusal
    assert float(peak) < MEBIBYTES
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < SECONDS


CELL = any_.text(any_.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=any_.lists(any_.tuples(CELL, CELL), max_size=8))
@example(rows=[("", "\uf900")])
def test_a_table_that_python_writes_is_read_or_refused(rows: list[tuple[str, str]], tmp_path: Path) -> None:
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = python_csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows(rows)
    try:
        images = list(csv.images(csv.Params(kind="csv", path=tmp_path, table="labels.csv")))
    except ConvoyError as error:
        reason = str(error)
    else:
        reason = ""
    if reason:
        assert "joins it with the lines" in reason
        return
    assert [image.label for image in images] == [
        unicodedata.normalize("NFC", label.strip()) for _, label in rows
    ]
