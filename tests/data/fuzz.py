"""Damaged inputs by the thousand: images, EXIF, served images, archives, arrays, tables, params.

    python -m tests.data.fuzz 20000        (inputs of each kind; default 300)

Each input is a sound file with some bytes changed, moved or cut off. Every refusal must be a ConvoyError, no
input may take 5 s, and the process may not take 1 GiB. Prints one line of JSON: per kind the inputs, the
refusals, the slowest input in seconds, the peak of memory in MiB and the errors that are no ConvoyError.
Inputs with such errors stay in $TMPDIR/convoy-fuzz-*, as do the slowest and the largest, and the last one of
a process that was killed or that took a minute for one input. tests/serving/test_server.py sends damaged
requests to a real server.
"""

import faulthandler
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stages import params
from stages.common import machine
from stages.common.errors import ConvoyError
from stages.data.decoding import decode, inspect
from stages.data.sources import archive, arrays, csv
from stages.serving import intake
from tests.data import fuzz_seeds

MAX_PIXELS = 20_000_000
RESIZE = {"size": [32, 32], "color": "rgb", "keep_aspect": True, "quality": "fast"}
SHOWN = 20
LONGEST_MESSAGE = 20_000
# What people write into params, and what YAML makes of text.
ODD_NUMBERS = (None, True, -1, 0, 1, 2**70, 0.5, -0.0, 1e308, float("inf"), float("nan"))
ODD_TEXTS = ("", "~", "1", "[1, 2]", "${x}", "\u202e", "a" * 5000)
ODD_NESTS: tuple[Any, ...] = ([], [[]], {}, {"": 1}, [None], {"a": {"b": [1]}})
ODD = (*ODD_NUMBERS, *ODD_TEXTS, *ODD_NESTS, "2026-13-45", "*", "../..", "\0")


@dataclass
class Report:
    """What inputs of one kind did; `peak` is the largest memory of the process so far, in MiB."""

    inputs: int = 0
    refusals: int = 0
    slowest: float = 0.0
    peak: int = 0
    errors: list[str] = field(default_factory=list)


def mutated(data: bytes, other: bytes, draw: np.random.Generator) -> bytes:
    """The data with one to four changes."""
    bytes_ = bytearray(data)
    for _ in range(int(draw.integers(1, 5))):
        if len(bytes_) < 8:
            break
        # Headers decide more than pixels do.
        reach = len(bytes_) if draw.random() < 0.5 else min(len(bytes_), 400)
        place, kind = int(draw.integers(0, reach)), int(draw.integers(0, 6))
        length = int(draw.integers(1, 9))
        if kind == 0:
            bytes_[place] ^= 1 << int(draw.integers(0, 8))
        elif kind == 1:
            value = draw.choice([0, 0xFF, 0x7F, 0x80, 1])
            bytes_[place : place + length] = bytes([int(value)]) * len(bytes_[place : place + length])
        elif kind == 2:
            bytes_[place : place + length] = draw.bytes(len(bytes_[place : place + length]))
        elif kind == 3:
            del bytes_[place : place + int(draw.integers(1, 200))]
        elif kind == 4:
            bytes_[place:place] = bytes_[max(0, place - 100) : place]
        else:
            start = int(draw.integers(0, len(other)))
            bytes_[place : place + 50] = other[start : start + 50]
    return bytes(bytes_)


def with_odd_values(data: bytes, other: bytes, draw: np.random.Generator) -> bytes:
    """The params with one to three odd values, keys or missing keys; every fourth time as `mutated` does."""
    if draw.random() < 0.25:
        return mutated(data, other, draw)
    values = yaml.load(data, yaml.CSafeLoader)
    for _ in range(int(draw.integers(1, 4))):
        section = values
        while inner := [value for value in section.values() if isinstance(value, dict) and value]:
            if draw.random() < 0.3:
                break
            section = inner[int(draw.integers(0, len(inner)))]
        key = list(section)[int(draw.integers(0, len(section)))]
        if draw.random() < 0.1:
            del section[key]
        else:
            place = key if draw.random() < 0.9 else f"{key}\u00a0"
            section[place] = ODD[int(draw.integers(0, len(ODD)))]
        if not values:
            break
    return yaml.dump(values, Dumper=yaml.CSafeDumper, allow_unicode=True).encode()


def look(data: bytes, folder: Path) -> None:
    facts = inspect(data, MAX_PIXELS, hashed=True, damaged=True)
    for color in ("rgb", "gray"):
        pixels = decode(data, color, plain=facts.plain)
        assert pixels.shape[:2] == (facts.height, facts.width), (pixels.shape, facts)


def serve(data: bytes, folder: Path) -> None:
    assert intake.prepared(data, RESIZE, MAX_PIXELS).shape == (32, 32, 3)


def unpack(data: bytes, folder: Path) -> None:
    path = folder / "archive"
    path.write_bytes(data)
    for _ in archive.images(archive.Params(kind="archive", path=path)):
        pass


def read_arrays(data: bytes, folder: Path) -> None:
    path = folder / "arrays"
    path.write_bytes(data)
    for _ in arrays.images(arrays.Params(kind="arrays", path=path)):
        pass


def tabulate(data: bytes, folder: Path) -> None:
    (folder / "labels.csv").write_bytes(data)
    for _ in csv.images(csv.Params(kind="csv", path=folder, table="labels.csv")):
        pass


def check_params(data: bytes, folder: Path) -> None:
    (folder / "params.yaml").write_bytes(data)
    params.load(folder / "params.yaml")


Mutate = Callable[[bytes, bytes, np.random.Generator], bytes]
# The third is by how much fewer inputs there are: reading the params takes 50 times as long as an image.
KINDS: dict[str, tuple[Callable[[], list[bytes]], Callable[[bytes, Path], None], int, Mutate]] = {
    "images": (fuzz_seeds.images, look, 1, mutated),
    "exif": (fuzz_seeds.exif_images, look, 1, mutated),
    "served": (fuzz_seeds.images, serve, 1, mutated),
    "archives": (fuzz_seeds.archives, unpack, 1, mutated),
    "arrays": (fuzz_seeds.arrays, read_arrays, 1, mutated),
    "tables": (fuzz_seeds.tables, tabulate, 1, mutated),
    "params": (fuzz_seeds.params, check_params, 5, with_odd_values),
}


def inputs(seeds: list[bytes], count: int, seed: int, mutate: Mutate) -> Iterator[bytes]:
    draw = np.random.default_rng(seed)
    for number in range(count):
        data = seeds[number % len(seeds)]
        other = seeds[int(draw.integers(0, len(seeds)))]
        yield mutate(data, other, draw)


def run(count: int, kinds: list[str], seed: int = 0) -> dict[str, object]:
    report: dict[str, object] = {}
    failed = Path(tempfile.mkdtemp(prefix="convoy-fuzz-"))
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            seeds, use, divisor, mutate = KINDS[kind]
            done = Report()
            for data in inputs(seeds(), -(-count // divisor), seed, mutate):
                _try(kind, data, use, Path(folder), failed, done)
            report[kind] = asdict(done) | {"errors": done.errors[:SHOWN]}
    return report


def _try(
    kind: str, data: bytes, use: Callable[[bytes, Path], None], folder: Path, failed: Path, done: Report
) -> None:
    last = failed / f"{kind}-last"
    last.write_bytes(data)
    # A decoder that hangs in C does not see signals.
    faulthandler.dump_traceback_later(60, exit=True)
    # Of the processor: other programs may take turns with this one.
    start = time.process_time()
    done.inputs += 1
    try:
        use(data, folder)
    except ConvoyError as error:
        done.refusals += 1
        if len(str(error)) > LONGEST_MESSAGE:
            done.errors.append(f"a message of {len(str(error))} characters: {str(error)[:200]!r}")
    except BaseException as error:
        (failed / f"{kind}-{len(done.errors)}").write_bytes(data)
        done.errors.append(f"{type(error).__name__}: {error}"[:300])
    seconds = round(time.process_time() - start, 3)
    if seconds > done.slowest:
        done.slowest = seconds
        (failed / f"{kind}-slowest").write_bytes(data)
    if (peak := round(machine.peak_memory())) > done.peak:
        done.peak = peak
        (failed / f"{kind}-largest").write_bytes(data)
    faulthandler.cancel_dump_traceback_later()
    last.unlink()


if __name__ == "__main__":
    logging.disable()
    warnings.simplefilter("ignore")
    words = sys.argv[1:] or ["300"]
    sys.stdout.write(json.dumps(run(int(words[0]), words[1:] or list(KINDS))) + "\n")
