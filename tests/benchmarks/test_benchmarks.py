"""Every benchmark runs to its end on a few images; nothing is said here about how fast."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import keras
import pytest

from benchmarks import (
    bench_batches,
    bench_change,
    bench_checkpoint,
    bench_data,
    bench_extract,
    bench_memory,
    bench_normalization,
    bench_onednn,
    bench_quality,
    bench_storage,
    harness,
    images,
)
from benchmarks.formats import FORMATS
from benchmarks.harness import Benchmark, Row, Settings
from benchmarks.pipeline import Pipeline
from stages.data import results_store


@pytest.fixture
def tiny(tmp_path: Path) -> Settings:
    return Settings(data=None, scale=0.002, repeats=1, work=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("benchmark", "rows"),
    [
        (bench_data.measure, 12),
        (bench_quality.measure, 12),
        (bench_batches.measure, 6),
        (bench_extract.measure, 3),
    ],
    ids=["data", "quality", "batches", "extract"],
)
def test_measures_everything_it_names(benchmark: Benchmark, rows: int, tiny: Settings) -> None:
    report = benchmark(tiny)
    assert len({row.name for row in report}) == len(report) == rows
    assert all(math.isfinite(row.ours) and row.ours > 0 for row in report)


def test_a_rate_of_resize_is_not_that_of_stored_results(tiny: Settings, image_results: Path) -> None:
    pipeline = Pipeline.ingested(images.small(tiny), tiny.work / "exact", 32)
    assert results_store.held(), "ingest stores the pixels that its decode gives"
    pipeline.forget()
    assert not results_store.held()


@pytest.mark.slow
def test_memory_is_measured_for_every_data_stage_and_a_classifier(tiny: Settings) -> None:
    report = bench_memory.measure(replace(tiny, scale=0.01))
    assert tuple(row.name.split()[3].strip(",") for row in report) == (
        *bench_memory.STAGES,
        bench_memory.FITTED,
    )
    # An interpreter with NumPy alone takes more than 20 MiB; a parent with TensorFlow would show as 500.
    assert all(20 < row.ours < 400 for row in report[:-1])


@pytest.mark.slow
def test_a_checkpoint_has_the_weights_and_two_averages_of_each() -> None:
    cost = bench_checkpoint.measure(bench_checkpoint.NETWORKS["MobileNetV2, 224²"])
    assert 3 * 2.2e6 * 4 < cost.size < 3 * 2.4e6 * 4
    assert cost.seconds > 0


@pytest.mark.slow
@pytest.mark.parametrize("network", ["lenet", "mobilenet_v2"])
def test_the_speed_of_a_network_is_measured(network: str) -> None:
    figures = bench_onednn.measure(network, seconds=0.01)
    assert figures["rate"] > 0
    assert figures["memory"] > 100


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="Only TensorFlow has the fused operation")
def test_batch_normalization_is_measured_three_ways(capsys: pytest.CaptureFixture[str]) -> None:
    case = bench_normalization.Case("minivggnet", 16, options={"normalization": "before"})
    bench_normalization.main([case], steps=1, repeats=1)
    row = capsys.readouterr().out.splitlines()[-1].strip("| ").split(" | ")
    assert row[:4] == ["`minivggnet`", "`normalization: before`", "16²", "float32"]
    keras_own, ours, ratio, bound = row[4:]
    assert min(map(float, (keras_own, ours, ratio, bound))) > 0


@pytest.mark.slow
def test_storage_compares_every_format_by_every_figure(tiny: Settings) -> None:
    pytest.importorskip("lmdb")
    pytest.importorskip("hdf5plugin")
    rows = {row.name: row for row in bench_storage.measure(tiny)}
    other_formats = len(FORMATS) - 1
    assert len(rows) == 3 * 4 * other_formats
    # TFRecord is a stream.
    assert rows["storage of 32² images, random, vs TFRecord"].bound is None


@pytest.mark.slow
def test_own_images_are_measured_whatever_their_folders(tmp_path: Path, tiny: Settings) -> None:
    folder = tmp_path / "mine" / "deep" / "folder"
    folder.mkdir(parents=True)
    for number, file in enumerate(sorted(images.small(tiny).rglob("*.jpg"))):
        file.rename(folder / f"{number}.jpg")
    (folder / "notes.txt").write_text("no image")
    settings = Settings(data=tmp_path / "mine", scale=0.002, repeats=1, work=tmp_path)
    (source,) = images.sets(settings).values()
    report = bench_change.compare(settings, "own", source, {"kind": "pixels"})
    assert [row.name.split()[0] for row in report] == ["seconds", "cpu", "decodes", "passes"]
    assert [(row.ours, row.bound) for row in report[2:]] == [(1, 20), (1, 20)], "only new images are computed"


def test_the_table_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def measure(settings: Settings) -> list[Row]:
        return [
            Row("work", "images/s", settings.count(1000), books=100.0, bound=625.0),
            Row("other", "s", 0.25),
        ]

    results = tmp_path / "results.csv"
    harness.main(measure, argv=["--scale", "0.5", "--results", str(results)])
    rows = list(csv.DictReader(results.open(encoding="utf-8")))
    assert rows[0] == dict(
        zip(harness.COLUMNS, ["work", "images/s", "500", "100", "625", "5", "0.8"], strict=True)
    )
    assert (rows[1]["ours"], rows[1]["vs_books"], rows[1]["vs_bound"]) == ("0.25", "", "")
    output = capsys.readouterr().out
    assert "| name | unit | ours | books | bound | vs_books | vs_bound |" in output
    assert "cores" in output


def test_a_folder_that_is_none_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        harness.main(argv=["--data", str(tmp_path / "nowhere")])
    assert "nowhere is not a folder" in capsys.readouterr().err


def test_ways_run_in_turn_and_the_median_counts() -> None:
    turns: list[str] = []
    done = iter([1, 10, 1, 1_000_000, 1, 10])

    def way(name: str) -> int:
        turns.append(name)
        return next(done)

    harness.rates(3, {"a": lambda: way("a"), "b": lambda: way("b")}, lambda: turns.append("clear"))
    assert turns == ["clear", "a", "clear", "b"] * 3
