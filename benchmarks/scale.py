"""How long, how many bytes and how much memory a number of images takes: a calculation, not a measurement.

The figures per image were measured on 2026-11-26 on two cores of an Intel Xeon beside much other work, as
processor time, which other work makes larger: JPEGs of 500x375 and 47 kB, resized to 256². A step takes as
long as its processors or its disk need, whichever is slower.
"""

from dataclasses import dataclass

from benchmarks.harness import markdown
from stages import cli

# Milliseconds of one core per image.
_INGEST, _INGEST_UNCHANGED, _AUDIT, _RESIZE, _MEAN, _PACK = 5.0, 0.08, 0.08, 0.29, 0.013, 0.59
# ResNet50 at 224², 29 images a second on two cores.
_EXTRACT = 69.0
# DVC lists a folder in 50 microseconds per file, and hashes 0.6 GB a second.
_DVC_FILE, _DVC_BYTES = 0.05, 0.6e9
# `similarity.close_pairs` at distance 4: seconds for a million images; it grows with the square.
_PAIRS = 12.8
# Bytes per image: a row of ingest in memory, with the columns of the manifest; a row of the manifest's file.
_MEMORY, _MANIFEST = 700, 51
# float32 of ResNet50's last layer.
_FEATURES = 4 * 2048


@dataclass(frozen=True)
class Step:
    """A step's name, its processor time, the bytes that it moves, and those that stay on the disk."""

    name: str
    seconds: float
    moved: float = 0.0
    stored: float = 0.0


def steps(images: int, bytes_per_image: int, side: int, cores: int) -> list[Step]:
    """The data stages from scratch, with the store of image results large enough for all images."""
    source, pixels = images * bytes_per_image, images * side * side * 3
    # Work on pixels grows with them; it was measured at 256².
    share = side * side / 256**2

    def of_one_core(milliseconds: float) -> float:
        return images * milliseconds / 1000

    return [
        Step("DVC hashes the source", of_one_core(_DVC_FILE) + source / _DVC_BYTES, source, source),
        Step("ingest: decode and resize", of_one_core(_INGEST) / cores, source + pixels, pixels),
        Step("ingest: near duplicates, one core", _PAIRS * (images / 1e6) ** 2, 0, images * _MANIFEST),
        Step("audit, one core", of_one_core(_AUDIT)),
        Step("resize from the store, one core", of_one_core(_RESIZE * share), 2 * pixels, pixels),
        Step("mean, one core", of_one_core(_MEAN)),
        Step("pack, one core", of_one_core(_PACK * share), 2 * pixels, pixels),
        Step("DVC hashes resized and packed", 2 * pixels / _DVC_BYTES, 2 * pixels),
        Step("extract, ResNet50 at 224²", of_one_core(_EXTRACT) / cores, pixels, images * _FEATURES),
    ]


def scale(
    *,
    images: int = 10_000_000,
    bytes_per_image: int = 110_000,
    side: int = 256,
    cores: int = 16,
    disk: float = 1e9,
) -> None:
    """Print how long the data stages take from scratch, and what they need.

    Args:
        images: How many.
        bytes_per_image: Of a file in the source.
        side: Of resized images, in pixels.
        cores: Of the machine.
        disk: Bytes per second that the disk reads or writes.
    """
    rows = []
    total = stored = 0.0
    for step in steps(images, bytes_per_image, side, cores):
        seconds = max(step.seconds, step.moved / disk)
        bound = "disk" if step.moved / disk > step.seconds else "processor"
        rows.append((step.name, f"{seconds / 3600:.2f}", bound, f"{step.stored / 1e12:.2f}"))
        total, stored = total + seconds, stored + step.stored
    rows.append(("all", f"{total / 3600:.2f}", "", f"{stored / 1e12:.2f}"))
    print(markdown(("step", "hours", "bound by", "TB on disk"), rows))
    print(f"\nmemory of ingest: {images * _MEMORY / 1e9:.1f} GB")
    print(f"a run without a change: {images * (_DVC_FILE + _INGEST_UNCHANGED) / 1000 / 60:.0f} minutes")


if __name__ == "__main__":
    cli.main(scale)
