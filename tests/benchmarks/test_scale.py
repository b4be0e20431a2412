"""The calculation of hours, bytes and memory for a number of images."""

import pytest

from benchmarks import scale
from stages import cli


def test_ten_times_the_images_take_ten_times_the_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    small, large = (scale.steps(images, 110_000, 256, 16) for images in (10**6, 10**7))
    assert [step.stored * 10 for step in small] == pytest.approx([step.stored for step in large])
    times = {
        few.name: most.seconds / few.seconds for few, most in zip(small, large, strict=True) if few.seconds
    }
    # Near duplicates alone grow with the square.
    assert sorted(round(ratio) for ratio in times.values()) == [10] * 8 + [100]
    cli.main(scale.scale, ["--images", "10000000", "--disk", "1e6"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "pack, one core" in line]
    assert "disk" in lines[0]
