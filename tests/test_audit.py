"""audit: what the page shows, and what drift does."""

import base64
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from stages.common.errors import SourceError, StoreError
from stages.report.pages import data
from tests.project import Images, Project

CLASSES = {"cat": 40, "dog": 40}


def changed(project: Project, change: Callable[[Image.Image], Image.Image]) -> None:
    for path in project.source.rglob("*.png"):
        with Image.open(path) as image:
            changed = change(image)
        changed.save(path)


@pytest.fixture
def accepted(project: Project, images: Images) -> Path:
    """A project whose profile was accepted."""
    images(CLASSES)
    project.ingest()
    project.audit()
    return Path(shutil.copy(project.root / "data" / "profile.json", project.root / "accepted.json"))


def drift_of(project: Project) -> dict[str, Any]:
    return json.loads((project.root / "reports" / "drift.json").read_text())


def test_the_page_asks_nothing_of_a_network_and_every_image_decodes(project: Project, images: Images) -> None:
    images()
    project.ingest()
    html = project.audit().read_text(encoding="utf-8")
    assert "http" not in html
    sources = re.findall(r'src="([^"]*)"', html)
    assert len(sources) == 6
    for uri in sources:
        data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (20, 24, 3)


def test_names_are_text_and_never_markup(project: Project, images: Images) -> None:
    hostile = '"><script>alert(1)<'
    source = images({hostile: 10, "dog": 10})
    (source / "dog" / "<script>alert(2)<.png").touch()
    shutil.copy(source / "dog" / "000.png", source / "dog" / "<img src=x onerror=alert(3)>.png")
    project.ingest(max_reject_fraction=0.2)
    html = project.audit().read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;alert(2)" in html


@pytest.mark.parametrize(
    ("fraction", "header", "counts"),
    [
        (0.0, ["train", "val", "test", "all"], ["6", "2", "2", "10"]),
        (0.5, ["train", "train-val", "val", "test", "all"], ["3", "3", "2", "2", "10"]),
    ],
)
def test_the_table_has_the_splits_that_there_are(
    project: Project, images: Images, fraction: float, header: list[str], counts: list[str]
) -> None:
    images()
    project.ingest(train_val_fraction=fraction)
    html = project.audit().read_text(encoding="utf-8")
    table = html.partition("Classes and splits</h2>")[2].partition("</table>")[0]
    assert re.findall(r'<th class="n" scope="col">([^<]*)', table) == header
    for label in ("cat", "dog"):
        row = table.partition(f'<th scope="row">{label}')[2].partition("</tr>")[0]
        assert re.findall(r'<td class="n">(\d+)', row) == counts


def test_near_duplicates_are_shown_side_by_side(project: Project, images: Images) -> None:
    source = images()
    with Image.open(source / "cat" / "000.png") as image:
        image.save(source / "dog" / "the same.bmp")
    project.ingest()
    html = project.audit().read_text(encoding="utf-8")
    assert "Pairs: 1; with different labels: 1; in different splits: 0" in html
    assert len(re.findall("<img", html)) == 8


def test_warnings_say_what_to_do(project: Project, images: Images) -> None:
    images({"cat": 40, "dog": 10})
    changed(project, lambda image: image.point(lambda value: value * 0.1))
    project.ingest()
    html = project.audit().read_text(encoding="utf-8")
    for words in ("4.0 times", "train.balanced", "fewer than 1,000", "are dark", "are tiny"):
        assert words in html


def test_a_second_run_gives_the_same_bytes(project: Project, images: Images) -> None:
    images()
    project.ingest()
    outputs = [
        project.root / path for path in ("reports/data.html", "data/profile.json", "reports/drift.json")
    ]
    project.audit()
    first = [path.read_bytes() for path in outputs]
    project.audit()
    assert [path.read_bytes() for path in outputs] == first


def test_other_reports_are_left_alone(project: Project, images: Images) -> None:
    images()
    project.ingest()
    metrics = project.root / "reports" / "metrics.json"
    metrics.parent.mkdir()
    metrics.touch()
    project.audit()
    assert metrics.exists()


def test_without_a_reference_it_passes_and_says_so(
    project: Project, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    images()
    project.ingest()
    with caplog.at_level("INFO"):
        html = project.audit().read_text(encoding="utf-8")
    assert drift_of(project)["verdict"] == "pass"
    assert "nothing to compare with" in html
    assert "found_no_reference_profile" in caplog.text


def test_the_same_data_pass(project: Project, accepted: Path) -> None:
    project.audit(reference=accepted)
    drift = drift_of(project)
    assert drift["verdict"] == "pass"
    assert {figure["value"] for figure in drift["figures"].values()} == {0.0}


def test_darker_images_stop_after_the_figures_are_written(project: Project, accepted: Path) -> None:
    changed(project, lambda image: image.point(lambda value: value * 0.3))
    project.ingest()
    with pytest.raises(
        SourceError, match=r"drifted from the reference profile: brightness by 1\.0.*make accept-data"
    ) as stop:
        project.audit(reference=accepted)
    assert "\n" not in str(stop.value)
    assert drift_of(project)["figures"]["brightness"]["verdict"] == "stop"


def test_another_class_mix_warns(project: Project, accepted: Path) -> None:
    for number in range(32):
        (project.source / "cat" / f"{number:03d}.png").unlink()
    project.ingest()
    page = project.audit(reference=accepted, stop=0.9)
    drift = drift_of(project)
    assert drift["verdict"] == "warn"
    mix, share = drift["figures"]["class_mix"], drift["figures"]["class_share"]
    assert (mix["value"], mix["verdict"]) == (0.3333, "warn")
    assert (share["class"], share["shares"], share["verdict"]) == ("cat", [0.5, 0.1667], "warn")
    assert "cat: 50.00 % → 16.67 %" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pictures": 0}'])
def test_a_reference_that_is_no_profile_is_named(project: Project, accepted: Path, text: str) -> None:
    bad = project.root / "bad.json"
    bad.write_text(text)
    with pytest.raises(StoreError, match=r"audit\.drift\.reference: .*bad\.json is no profile"):
        project.audit(reference=bad)


@pytest.mark.parametrize(
    "change",
    [
        lambda profile: b"\x89PNG\r\n\x1a\n\xff\xd8",
        lambda profile: json.dumps(profile).encode("utf-16"),
        lambda profile: profile | {"classes": ["cat", "dog"]},
        lambda profile: profile | {"classes": {"cat": "many"}},
        lambda profile: profile | {"classes": {"cat": 1e999}},
        lambda profile: profile | {"quantiles": {}},
        lambda profile: profile | {"quantiles": profile["quantiles"] | {"weight": [1.0, 2.0]}},
        lambda profile: profile | {"quantiles": profile["quantiles"] | {"width": []}},
        lambda profile: profile | {"quantiles": profile["quantiles"] | {"width": [float("nan")]}},
    ],
    ids=["png", "utf-16", "list", "text", "infinite", "no figures", "other figure", "no values", "nan"],
)
def test_a_reference_of_another_kind_is_named_and_does_not_pass(
    project: Project, accepted: Path, change: Callable[[dict[str, Any]], bytes | dict[str, Any]]
) -> None:
    """Some ended as an unexpected error, and figures without values passed."""
    changed = change(json.loads(accepted.read_text()))
    bad = project.root / "bad.json"
    bad.write_bytes(changed if isinstance(changed, bytes) else json.dumps(changed).encode())
    with pytest.raises(StoreError, match=r"audit\.drift\.reference: .*bad\.json is no profile"):
        project.audit(reference=bad)


def test_many_classes_share_the_sheets_and_the_smallest_have_them(
    project: Project, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """600 images and 300 rows are the real bounds, of a page for 20,000 classes."""
    monkeypatch.setattr(data, "SAMPLES_SHOWN", 2)
    monkeypatch.setattr(data, "CLASSES_SHOWN", 2)
    images({"cat": 10, "dog": 12, "owl": 14})
    project.ingest()
    html = project.audit().read_text(encoding="utf-8")
    assert html.count("<img") == 2
    assert "Of the 2 smallest of 3 classes." in html
    assert "The 2 smallest of 3 classes." in html
    assert '<th scope="row">cat' in html
    assert '<th scope="row">owl' not in html


def widths_shown(html: str) -> tuple[list[float], list[str]]:
    """The heights of the bars of the widths, and what stands below them."""
    widths = html.partition("<h3>width</h3>")[2].partition("<h3>")[0]
    heights = [float(height) for height in re.findall(r"height:([\d.]+)%", widths)]
    return heights, re.findall("<span>(.*?)</span>", widths)


def test_bars_end_where_the_label_below_them_says(project: Project, images: Images) -> None:
    """They end at the 99th percentile, and the label said the largest width."""
    source = images(CLASSES)
    for number, path in enumerate(sorted((source / "cat").iterdir())):
        with Image.open(path) as image:
            wider = image.resize((400 if number == 39 else 25 + number, 20))
        wider.save(path)
    project.ingest(near_duplicates={"distance": None})
    _, ends = widths_shown(project.audit().read_text(encoding="utf-8"))
    widths = [24] * 40 + [25 + number for number in range(39)] + [400]
    assert ends == ["24", "median 24.5", f"{np.quantile(widths, 0.99):.0f} (max 400)"]


def test_one_wide_image_beside_equal_ones_is_a_bar_at_the_right_end(project: Project, images: Images) -> None:
    source = images({"cat": 110, "dog": 110})
    with Image.open(source / "cat" / "000.png") as image:
        wide = image.resize((400, 20))
    wide.save(source / "cat" / "000.png")
    project.ingest(near_duplicates={"distance": None})
    heights, ends = widths_shown(project.audit().read_text(encoding="utf-8"))
    assert ends == ["24", "median 24", "400"]
    assert heights[0] == 100
    assert heights[-1] > 0
    assert sum(heights[1:-1]) == 0


def test_a_changed_file_stops_the_stage(images: Images, project: Project, image_results: Path) -> None:
    """Else the figures and the thumbnail of the new file would be stored as those of the old one."""
    source = images()
    project.ingest()
    shutil.rmtree(image_results)
    shutil.copyfile(source / "cat" / "001.png", source / "cat" / "000.png")
    with pytest.raises(SourceError, match=r"cat/000\.png: other bytes .*run ingest again"):
        project.audit()
