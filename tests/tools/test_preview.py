"""Contact sheets of augmented images, for the members that augment and no others."""

from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

from stages.common.errors import OutputError, ParamsError
from stages.models.learners import cnn, logistic_regression
from stages.tools.preview import draw
from tests.paths import ROOT

BASE = yaml.safe_load((ROOT / "conf" / "augment" / "base.yaml").read_text(encoding="utf-8"))
MODELS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["models"]
LINEAR = logistic_regression.Params.model_validate(MODELS["hog_logistic"])


def network(augment: dict[str, Any] | None, patch: list[int] | None = None) -> cnn.Params:
    return cnn.Params.model_validate(MODELS["lenet"] | {"augment": augment, "patch": patch})


def test_every_member_that_augments_gets_a_sheet(packed: Any, tmp_path: Path) -> None:
    models = {
        "plain": network(None),
        "turned": network(BASE | {"rotation": 30.0}),
        "mixed": network(BASE | {"mixup": 1.0}, patch=[12, 12]),
    }
    draw(models, packed.packed, tmp_path / "sheets")
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == ["mixed.png", "turned.png"]
    sheets = [cv2.imread(str(tmp_path / "sheets" / f"{name}.png")) for name in ("turned", "mixed")]
    assert sheets[0].shape[1] > sheets[0].shape[0] > 300, "eight columns, six lines"
    assert (sheets[0] != sheets[1]).any()


def test_without_augmentation_it_says_how_to_get_some(packed: Any, tmp_path: Path) -> None:
    message = r"no member has an augment section; .* SET=\+augment@models\.plain\.augment=a1"
    with pytest.raises(ParamsError, match=message):
        draw({"linear": LINEAR, "plain": network(None)}, packed.packed, tmp_path / "sheets")
    with pytest.raises(ParamsError, match="no member trains a network"):
        draw({"linear": LINEAR}, packed.packed, tmp_path / "sheets")
    assert not (tmp_path / "sheets").exists()


def test_a_sheet_does_not_replace_what_the_preview_did_not_write(packed: Any, tmp_path: Path) -> None:
    photo = tmp_path / "sheets" / "photos" / "only_copy.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"mine")
    with pytest.raises(
        OutputError, match=r"photos/only_copy\.jpg, which this command does not write, and is kept"
    ):
        draw({"turned": network(BASE | {"rotation": 30.0})}, packed.packed, tmp_path / "sheets")
    assert photo.read_bytes() == b"mine"
