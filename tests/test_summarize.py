"""summarize: the page says what the run found, and nothing that it did not."""

import base64
import re
import shutil
from dataclasses import asdict
from html import escape
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from stages.common.files import read_json, write_json
from stages.data.manifest import TRAIN_VAL, Manifest, write_manifest
from stages.scoring import diagnosis
from stages.scoring.books import Book, Printed
from tests.conftest import MakeRun

MANY = {f"class number {number}": 10 for number in range(41)}


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def section(html: str, name: str) -> str:
    """What stands between one heading and the next."""
    return html.partition(f'<h2 id="{name}">')[2].partition("<h2 ")[0]


def test_the_page_asks_nothing_of_a_network_and_every_image_decodes(make_run: MakeRun) -> None:
    html = text_of(make_run().summarize())
    # But for the names of XML's dialects, which are encoded.
    assert "http" not in html
    assert "<script" not in html
    sources = re.findall(r'src="data:([^;]*);base64,([^"]*)"', html)
    assert len(sources) == html.count("<img ")
    images = [base64.b64decode(data) for kind, data in sources if kind == "image/jpeg"]
    assert images
    for image in images:
        assert cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR).shape == (16, 16, 3)


def test_members_stand_side_by_side_with_the_scores_of_evaluate(make_run: MakeRun) -> None:
    run = make_run()
    table = section(text_of(run.summarize()), "members")
    for name, scores in read_json(run.root / "reports" / "metrics.json").items():
        row = re.search(f'<th scope="row">{name}(.*?)</tr>', table, re.DOTALL)
        assert row is not None
        shown = re.findall(r"\d\.\d{4}", re.sub(r"[\d.]+ to [\d.]+", "", row[1]))
        assert shown == [f"{value:.4f}" for metric, value in scores.items() if metric != "n"]


def test_the_data_are_counted_by_split_with_train_val_where_there_is_one(make_run: MakeRun) -> None:
    run = make_run()
    tiles = re.compile(r'<dt>((?:train|val|test)[^<]*)</dt><dd><span class="value">(\d+)')
    assert tiles.findall(section(text_of(run.summarize()), "data")) == [
        ("train", "36"),
        ("val", "12"),
        ("test", "12"),
    ]
    rows = Manifest.read(run.project.manifest).rows()
    splits = {row.sha256: row.split for row in rows}
    splits |= dict.fromkeys([row.sha256 for row in rows if row.split == "train"][:6], TRAIN_VAL)
    write_manifest(run.project.manifest, rows, splits)
    assert ("train-val", "6") in tiles.findall(section(text_of(run.summarize()), "data"))


def test_one_member_is_no_ensemble(make_run: MakeRun) -> None:
    html = text_of(make_run(members={"alone": 0.3}).summarize())
    assert 'id="ensemble"' not in html
    assert "<span>accuracy of alone</span>" in html
    assert '<th scope="row">ensemble' not in html


def test_the_matrix_has_the_counts_of_the_test_split(make_run: MakeRun) -> None:
    run = make_run(members={"alone": 0.3})
    cells = re.findall(r"<b>(\d+)</b>", section(text_of(run.summarize()), "confusion"))
    assert sum(map(int, cells)) == read_json(run.root / "reports" / "metrics.json")["alone"]["n"] == 12


@pytest.mark.slow
def test_more_classes_than_anyone_reads_are_the_commonest_confusions(make_run: MakeRun) -> None:
    page = make_run(MANY, {"alone": 0.3, "other": 0.3}).summarize()
    html = section(text_of(page), "confusion")
    assert 'class="matrix"' not in html
    assert html.count("<details") == 3
    assert html.count("<tr>") == 3 * 31
    assert page.stat().st_size < 500_000


def test_errors_are_images_of_the_test_split_and_the_surest_come_first(make_run: MakeRun) -> None:
    html = section(text_of(make_run(members={"alone": 0.3}).summarize()), "errors")
    sure = [float(value) for value in re.findall(r"taken for <strong>.*?</strong> ([\d.]+)", html)]
    assert sure
    assert sure == sorted(sure, reverse=True)


def test_no_errors_are_said_to_be_none(make_run: MakeRun) -> None:
    html = text_of(make_run(members={"alone": 1.0}).summarize())
    assert "every image of the test split is classified rightly" in section(html, "errors")


def test_the_books_numbers_are_compared_where_there_are_any(make_run: MakeRun) -> None:
    run = make_run(members={"alone": 1.0})
    assert 'id="book"' not in text_of(run.summarize())
    run.book = Book(
        figures=[
            Printed(of="alone", metric="accuracy", value=value, tolerance=0.01, source=source)
            for value, source in ((0.95, "Bundle ch. 1"), (1.0, "Bundle ch. 2"))
        ]
    )
    html = section(text_of(run.summarize()), "book")
    assert "+0.0500" in html
    assert html.count("<td>yes") == 2


def test_the_sentence_about_the_test_split_names_images_and_decisions(make_run: MakeRun) -> None:
    """It once said that nothing was chosen by the test split, while every run chose a champion by it."""
    run = make_run(members={"good": 0.9, "bad": 0.6})
    run.promote("bad", champion="good")
    facts = read_json(run.root / "reports" / "promotion.json")
    images, decisions = facts["images"], facts["decisions"]
    assert decisions == 2
    sentence = f"chosen by {images} of its {images} images, on which {decisions} decisions have been taken."
    assert (
        f"Figures are of the test split, which nothing was fitted to. The champion is {sentence}"
        in text_of(run.summarize())
    )


def test_the_verdict_on_promotion_is_shown(make_run: MakeRun) -> None:
    run = make_run(members={"good": 1.0, "bad": 0.0})
    html = section(text_of(run.summarize()), "promotion")
    assert "<strong>Promoted.</strong> Every rule holds, and there was no champion." in html
    run.promote("bad", champion="good")
    html = section(text_of(run.summarize()), "promotion")
    assert "<strong>The champion stays.</strong> Better accuracy: gain -" in html
    assert html.count('<td class="no">no') == 2


def test_a_diagnosis_stands_below_the_curves_it_is_of(make_run: MakeRun) -> None:
    run = make_run(members={"alone": 1.0})
    finding = diagnosis.overfitting(
        [1, 2, 3, 4, 5, 6], [0.9, 0.5, 0.3, 0.2, 0.1, 0.1], [1, 0.5, 0.6, 0.8, 0.9, 1], 6
    )
    assert finding is not None
    write_json(run.root / "reports" / diagnosis.FILE, {"alone": [asdict(finding)]})
    html = section(text_of(run.summarize()), "curves")
    assert all(escape(words) in html for words in (finding.figure, finding.advice, finding.source))


def test_names_are_text_and_never_markup(make_run: MakeRun) -> None:
    hostile = '"><script>alert(1)<'
    run = make_run({hostile: 10, "<img src=x onerror=alert(2)>": 10}, {"alone": 0.2, "other": 0.2})
    html = text_of(run.summarize())
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;" in html


def test_a_second_page_is_the_same_bytes(make_run: MakeRun) -> None:
    run = make_run()
    first = run.summarize().read_bytes()
    assert run.summarize().read_bytes() == first


def test_the_command_names_every_value_that_differs_from_the_recipe(make_run: MakeRun) -> None:
    run = make_run(members={"alone": 1.0})
    assert "dvc exp run -S recipe=digits\n" not in text_of(run.summarize())
    values = yaml.safe_load(run.params.read_text())
    values["models"]["lenet"]["train"]["epochs"] = 3
    run.params.write_text(yaml.safe_dump(values))
    assert "dvc exp run -S recipe=digits -S models.lenet.train.epochs=3</code>" in text_of(run.summarize())


def test_credentials_in_the_params_are_not_on_the_page(make_run: MakeRun) -> None:
    run = make_run(members={"alone": 1.0})
    values = yaml.safe_load(run.params.read_text())
    values["ingest"]["source"]["url"] = "https://me:s3cret@host/a.tar?sig=s3cret"
    run.params.write_text(yaml.safe_dump(values))
    html = text_of(run.summarize())
    assert "s3cret" not in html
    assert html.count("https://***@host/a.tar?sig=***") == 2


def test_a_half_made_run_leaves_the_page_before_it(make_run: MakeRun) -> None:
    run = make_run(members={"alone": 1.0})
    page = run.summarize()
    before = page.read_bytes()
    shutil.rmtree(run.root / "models")
    with pytest.raises(FileNotFoundError, match=r"history\.json"):
        run.summarize()
    assert page.read_bytes() == before
