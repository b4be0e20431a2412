"""promote: what is refused, with the reason in one line; no champion is judged on images it has seen."""

import numpy as np
import pytest

from stages.common.errors import ServingError, StoreError
from stages.common.files import read_json, write_json
from stages.data import image_set
from tests.workshop import Workshop, bundle_of

pytestmark = pytest.mark.slow


def test_a_champion_that_cannot_be_used_any_more_is_one_line(workshop: Workshop) -> None:
    workshop.make(c=1.0)
    workshop.promote()
    (next(bundle_of("1").rglob("spec.json"))).unlink()
    workshop.make(c=0.5)
    with pytest.raises(ServingError, match="models:/shop/1 cannot be used: ") as caught:
        workshop.promote()
    assert "\n" not in str(caught.value)


def test_a_champion_is_not_judged_on_images_it_was_trained_on(workshop: Workshop) -> None:
    """With another split seed, most of the test split was in the old champion's train split."""
    workshop.make(c=1.0)
    workshop.promote()
    trained_on = workshop.ids("train") | workshop.ids("val")
    workshop.split(seed=7)
    workshop.make(c=0.5)
    new = workshop.ids("test") - trained_on
    assert 20 < len(new) < 60
    few = workshop.promote(min_images=60)
    assert few["decision"] == "kept"
    allowed = "allowed: 60 at least (promote.min_images)"
    assert few["reason"] == f"images new to both models: {len(new)} of the test split's 80, {allowed}"
    assert "no decision was counted" in workshop.page()

    enough = workshop.promote(min_images=10)
    assert (enough["images"], enough["test_images"]) == (len(new), 80)
    # All of them were in the test split that the first decision was taken on.
    assert enough["decisions"] == 2
    assert f"{len(new)} are new to both models" in workshop.page()
    assert sum(recall["champion"] > 0 for recall in enough["recall"].values()) > 0


def test_train_val_is_not_new_to_a_champion(workshop: Workshop) -> None:
    """Nothing is fitted to it, but the diagnosis that people act on is."""
    workshop.split(train_val_fraction=0.5)
    workshop.make(c=1.0)
    workshop.promote()
    chosen_by = workshop.ids("train") | workshop.ids("train_val") | workshop.ids("val")
    assert len(workshop.ids("train_val")) > 20
    workshop.split(seed=7)
    workshop.make(c=0.5)
    new = workshop.ids("test") - chosen_by
    assert workshop.promote(min_images=10)["images"] == len(new)


def test_images_that_a_continued_training_has_seen_are_not_new(workshop: Workshop) -> None:
    """Under other splits they may have been train images of the training that a member continues."""
    workshop.make(c=1.0)
    file = workshop.root / "models" / "only" / "seen.bin"
    before = sorted(workshop.ids("test"))[:20]
    image_set.write(file, np.union1d(image_set.read(file), image_set.of_ids(before)))
    assert workshop.promote()["images"] == 60


def test_a_champion_that_does_not_say_what_it_has_seen_is_one_line(workshop: Workshop) -> None:
    workshop.make(c=1.0)
    workshop.promote()
    (next(bundle_of("1").rglob("seen.bin"))).unlink()
    workshop.make(c=0.5)
    with pytest.raises(ServingError, match="models:/shop/1 does not say which images it has seen") as caught:
        workshop.promote()
    assert "delete the alias champion of shop in MLflow" in str(caught.value)


def test_a_challenger_that_was_not_evaluated_is_refused(workshop: Workshop) -> None:
    workshop.make(c=1.0)
    scores = read_json(workshop.root / "metrics.json")
    write_json(workshop.root / "metrics.json", {"ensemble": scores["ensemble"] | {"n": 79}})
    with pytest.raises(StoreError, match=r"metrics\.json has no scores of ensemble on 80 images"):
        workshop.promote()


def test_predictions_of_other_images_are_refused(workshop: Workshop) -> None:
    workshop.make(c=1.0)
    workshop.project.ingest(near_duplicates={"distance": None}, test_fraction=0.3)
    with pytest.raises(StoreError, match="is of other images than the manifest's test split"):
        workshop.promote()
