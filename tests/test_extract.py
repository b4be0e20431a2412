"""extract: features of every image, in the order of the packed files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.common.errors import ParamsError, StoreError
from stages.data import store
from stages.extract import extract
from stages.models.extractors import hog, pixels


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_split_has_features_labels_and_ids(packed: Any, features: Path, split: str) -> None:
    with (
        store.Reader(packed.packed / f"{split}.h5") as images,
        store.Reader(features / f"{split}.h5") as rows,
    ):
        assert (rows.key, rows.dtype) == ("features", np.float32)
        expected = images.read(0, len(images)).reshape(len(images), -1) / 255
        np.testing.assert_allclose(rows.read(0, len(rows)), expected, atol=1e-6)
        np.testing.assert_array_equal(rows.ids, images.ids)
        np.testing.assert_array_equal(rows.column("labels"), images.column("labels"))
        assert rows.provenance["split"] == split
        assert rows.provenance["manifest"] == images.provenance["manifest"]
        assert rows.provenance["extractor"] == {"name": "pixels", "kind": "pixels"}


def test_what_cannot_be_extracted_leaves_nothing(packed: Any, tmp_path: Path) -> None:
    params = hog.Params(kind="hog", cell=5, block=2, bins=9)
    with pytest.raises(ParamsError, match=r"resize\.size"):
        extract("hog", params=params, packed=packed.packed, features=tmp_path / "hog")
    with pytest.raises(StoreError, match="does not exist; run the stage that makes it"):
        extract("p", params=pixels.Params(kind="pixels"), packed=tmp_path, features=tmp_path / "p")
    assert list(tmp_path.iterdir()) == []
