"""Which image a stage's container has."""

import pytest

from pipelines.config import Config
from pipelines.runners._images import image


@pytest.mark.parametrize(
    ("target", "gpus", "backend", "name"),
    [
        ("data", 0, "", "convoy/data:latest"),
        ("train", 0, "tensorflow", "convoy/train:latest"),
        ("train", 1, "", "convoy/train-gpu:latest"),
        ("train", 0, "jax", "convoy/train-jax:latest"),
        ("data", 0, "jax", "convoy/data:latest"),
        ("registry.example.com/own:1", 0, "jax", "registry.example.com/own:1"),
    ],
)
def test_a_stages_image_has_what_the_stage_needs(target: str, gpus: int, backend: str, name: str) -> None:
    passed = {"KERAS_BACKEND": backend} if backend else {}
    assert image(Config(passed_variables=passed), target, gpus) == name
