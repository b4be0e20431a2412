"""extract: features of every picture, in the order of the packed files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.data import store
from stages.errors import ParamsError, StoreError
from stages.extract import extract
from stages.extractors import hog, pixels


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_split_has_features_labels_and_ids(packed: Any, features: Path, split: str) -> None:
    with (
        store.Reader(packed.packed / f"{split}.h5") as pictures,
        store.Reader(features / f"{split}.h5") as rows,
    ):
        assert (rows.key, rows.dtype) == ("features", np.float32)
        expected = pictures.read(0, len(pictures)).reshape(len(pictures), -1) / 255
        np.testing.assert_allclose(rows.read(0, len(rows)), expected, atol=1e-6)
        np.testing.assert_array_equal(rows.ids, pictures.ids)
        np.testing.assert_array_equal(rows.column("labels"), pictures.column("labels"))
        assert rows.provenance["split"] == split
        assert rows.provenance["manifest"] == pictures.provenance["manifest"]
        assert rows.provenance["extractor"] == {"name": "pixels", "kind": "pixels"}


def test_what_cannot_be_extracted_leaves_nothing(packed: Any, tmp_path: Path) -> None:
    params = hog.Params(kind="hog", cell=5, block=2, bins=9)
    with pytest.raises(ParamsError, match=r"resize\.size"):
        extract("hog", params=params, packed=packed.packed, features=tmp_path / "hog")
    with pytest.raises(StoreError, match="does not exist; run the stage that makes it"):
        extract("p", params=pixels.Params(kind="pixels"), packed=tmp_path, features=tmp_path / "p")
    assert list(tmp_path.iterdir()) == []
