"""The table that a sweep ends with."""

import pytest

from pipelines.ranking import Point, ranked, score, table

METRICS = {"ensemble": {"accuracy": 0.9, "per_class": {"a": 1}, "name": "x", "certain": True}}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("ensemble.accuracy", 0.9),
        ("-ensemble.accuracy", 0.9),
        ("ensemble.per_class.a", 1.0),
        ("ensemble", None),
        ("ensemble.name", None),
        ("ensemble.certain", None),
        ("ensemble.name.x", None),
        ("other.accuracy", None),
    ],
)
def test_a_metric_is_looked_up_by_its_key(key: str, expected: float | None) -> None:
    assert score(METRICS, key) == expected


def test_the_best_point_is_first_and_failed_points_are_last() -> None:
    points = [Point("a=1", "run-1", 0.5), Point("a=2", "run-2", None), Point("a=3", "run-3", 0.75)]
    assert [point.run for point in ranked(points, "m.accuracy")] == ["run-3", "run-1", "run-2"]
    assert [point.run for point in ranked(points, "-m.loss")] == ["run-1", "run-3", "run-2"]
    assert table(ranked(points, "m.accuracy"), "m.accuracy", "http://a/").splitlines() == [
        "| | point | m.accuracy |",
        "|---|---|---|",
        "| 1 | [`a=3`](http://a/run-3) | 0.75 |",
        "| 2 | [`a=1`](http://a/run-1) | 0.5 |",
        "| 3 | [`a=2`](http://a/run-2) | none |",
    ]


def test_overrides_are_no_markup_of_the_table() -> None:
    row = table([Point("models.*.c=1 x=a|b models.*.d=2", "run-1", 1.0)], "m", "").splitlines()[2]
    assert row == r"| 1 | [`models.*.c=1 x=a\|b models.*.d=2`](run-1) | 1 |"
