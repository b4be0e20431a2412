"""Runs side by side: what the terminal and the page say of executions that a server has."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from stages import cli, tracking
from stages.report.pages import comparison
from stages.report.pages.compared import Compared, Part
from stages.tools.compare import compare
from tests.browser import PHONE, WIDE, Browser, Scheme, needs_chromium

IDS = np.asarray([f"{number:016x}" for number in range(60)])
LABELS = np.arange(60) % 3


def execute(monkeypatch: pytest.MonkeyPatch, name: str, epochs: int, wrong: int) -> dict[str, Any]:
    """An execution with one member, which has so many of 60 test images wrong; returns the links."""
    monkeypatch.setenv("CONVOY_RUN", name)
    with tracking.run(
        "compared", "net", {"stage": "train@net", "member": "net", "manifest": "a" * 64}
    ) as member:
        member.params({"train": {"epochs": epochs}, "kind": "cnn"})
        for epoch in range(1, epochs + 1):
            values = {"loss": 1 / epoch, "val_loss": 1.1 / epoch, "accuracy": 0.5, "val_accuracy": 0.5}
            member.epoch(epoch, {**values, "images_per_second": 1234.0})
        member.metrics({"fit_seconds": 1.5 * epochs})
    predicted = np.where(np.arange(60) < wrong, (LABELS + 1) % 3, LABELS)
    probabilities = np.full((60, 3), 0.1, np.float32)
    probabilities[np.arange(60), predicted] = 0.8
    order = np.random.default_rng(wrong).permutation(60)
    with tracking.run("compared", "evaluate", {"stage": "evaluate", "manifest": "a" * 64}) as evaluation:
        for part in ("net", "ensemble"):
            evaluation.metrics({f"{part}.accuracy": 1 - wrong / 60, f"{part}.log_loss": 0.3})
            evaluation.predictions(part, IDS[order], LABELS[order], probabilities[order])
        evaluation.members({"net": member.link}, {})
    return {"member": member.link["run_id"], "evaluation": evaluation.link["run_id"]}


@pytest.fixture(scope="module")
def runs(tracked: Path) -> list[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return [
            execute(monkeypatch, "short", epochs=2, wrong=12),
            execute(monkeypatch, "long", epochs=4, wrong=3),
        ]


def rows(output: str) -> dict[str, list[str]]:
    """Of the section of the member: what stands in each row."""
    (section,) = re.findall(r"^net\n(.*?)(?:\n\n|\Z)", output, flags=re.MULTILINE | re.DOTALL)
    cells = [re.split(r" {2,}", line.strip()) for line in section.splitlines() if line.strip()]
    return {first: rest for first, *rest in cells}


def test_executions_of_a_recipe_stand_side_by_side(
    runs: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "compare.html"
    cli.main(compare, ["--recipe", "compared", "--page", str(page)])
    output = capsys.readouterr().out
    assert output.split()[:2] == ["short", "long"]
    table = rows(output)
    assert table["train.epochs"] == ["2", "4"]
    assert "kind" not in table
    assert table["Seconds to fit"] == ["3.0", "6.0"]
    assert table["Images/s"] == ["1,234", "1,234"]
    low, high = map(float, re.fullmatch(r"0\.8000 \((.+) to (.+)\)", table["Accuracy"][0]).groups())
    assert 0.65 < low < 0.75
    assert 0.85 < high < 0.95
    # The twelve wrong ones of the first include the three of the second: McNemar's mid-p of 9 to 0.
    assert table["Accuracy against the first"] == ["+0.1500 (p = 0.002; +9 -0)"]
    html = page.read_text(encoding="utf-8")
    assert html.count("<img") == 2
    assert "http" not in re.sub(r"http://www\.w3\.org\S*", "", html)
    assert all(text in html for text in ("short", "long", "train.epochs", "ensemble"))


def test_a_training_that_two_executions_share_is_one_line_of_the_curves() -> None:
    long = Part("1" * 32, {}, curves={"val_loss": [(1, 2.0), (2, 1.0)], "loss": [(1, 2.0), (2, 1.0)]})
    short = Part("2" * 32, {}, curves=long.curves)
    runs = [
        Compared(name, name, {}, {"net": part}) for name, part in zip("abc", (long, long, short), strict=True)
    ]
    (section,) = comparison.sections(runs)
    assert section.rows["Run"] == [("Id", ["11111111", "11111111", "22222222"])]
    assert [text.get_text() for text in section.curves["loss"].legends[0].get_texts()] == ["a, b", "c"]


def test_machines_whose_names_differ_at_the_end_are_told_apart() -> None:
    commit = "0123456789ab" + "c" * 28
    runs = [
        Compared(name, name, {"host": f"gpu-cluster-node-{name}", "git.commit": commit}, {}) for name in "ab"
    ]
    assert comparison.about(runs) == [("Machine", ["gpu-cluster-node-a", "gpu-cluster-node-b"])]


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(WIDE, "dark"), (PHONE, "light")])
def test_the_page_is_whole_and_readable(
    browser: Browser, runs: list[dict[str, Any]], tmp_path: Path, width: int, scheme: Scheme
) -> None:
    page = tmp_path / "compare.html"
    cli.main(compare, ["--recipe", "compared", "--page", str(page)])
    with browser.opened(page, width=width, scheme=scheme) as shown:
        shown.screenshot(f"compare-{width}-{scheme}")
        assert shown.undecoded() == []
        assert shown.overflow() <= 0
        assert shown.violations() == []
        assert shown.unreached() == []
        assert shown.complaints == []


def test_trainings_and_executions_are_found_by_id_beginning_and_name(
    runs: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(runs[1]["member"])[:12], "short", str(runs[1]["evaluation"])]
    cli.main(compare, [*words, "--page", str(tmp_path / "page.html")])
    output = capsys.readouterr().out
    assert output.split()[:3] == ["net", "short", "long"]
    assert rows(output)["train.epochs"] == ["4", "2", "4"]
    # A training is judged by the evaluation that points at it.
    assert rows(output)["Accuracy"][0].startswith("0.9500 (")


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["nothing"], "no run has the id or the name nothing"),
        # The store is the session's: other tests' recipes may be beside this one's.
        (["--recipe", "unknown"], r"no runs of recipe unknown; allowed: (.+, )?compared\b"),
    ],
)
def test_what_is_not_there_is_one_line(
    runs: list[dict[str, Any]], words: list[str], output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        cli.main(compare, words)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert re.search(output, lines[0])


def test_an_execution_that_used_all_results_of_another_is_one_line(
    runs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a run that only promoted, the table was empty."""
    monkeypatch.setenv("CONVOY_RUN", "reused")
    with tracking.run("compared", "promote", {"stage": "promote", "manifest": "a" * 64}):
        pass
    with pytest.raises(SystemExit, match="1"):
        cli.main(compare, ["reused"])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "run reused has no training and no evaluation of its own" in line


def test_an_evaluation_that_failed_hides_no_training(
    runs: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CONVOY_RUN", "half")
    about = {"stage": "train@net", "member": "net", "manifest": "a" * 64}
    with tracking.run("compared", "net", about) as member:
        member.params({"train": {"epochs": 7}, "kind": "cnn"})
    with (
        pytest.raises(ValueError, match="no disk"),
        tracking.run("compared", "evaluate", {"stage": "evaluate", "manifest": "a" * 64}),
    ):
        raise ValueError("no disk")
    cli.main(compare, ["half", "short", "--page", str(tmp_path / "page.html")])
    assert rows(capsys.readouterr().out)["train.epochs"] == ["7", "2"]


def test_a_lease_of_a_promotion_is_no_recipe(
    runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    MlflowClient().create_experiment("promotion lease: listed nowhere")
    with pytest.raises(SystemExit, match="1"):
        cli.main(compare, ["--recipe", "unknown"])
    error = capsys.readouterr().err
    assert "compared" in error
    assert "lease" not in error
