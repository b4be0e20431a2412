"""Images of earlier builds are listed and removed on a real engine; named ones and those in use stay."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.worker import old_images
from tests.docker.conftest import docker

pytestmark = pytest.mark.slow

NAME = "convoy/old-images:test"


def build(folder: Path, content: str, title: str = "convoy/data") -> str:
    """Build an image without a base, under the name that an earlier one had; returns its id."""
    (folder / "content").write_text(content, encoding="utf-8")
    label = f'LABEL org.opencontainers.image.title="{title}"'
    (folder / "Dockerfile").write_text(f"FROM scratch\n{label}\nCOPY content /\n", encoding="utf-8")
    docker("build", "--quiet", "--tag", NAME, str(folder))
    return docker("image", "inspect", "--format", "{{.Id}}", NAME)


@pytest.fixture
def images(engine: None, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What an image is -> its id; all but the last have lost their name to the next build."""
    ids = {
        "of others": build(tmp_path, "1", "others/data"),
        "old": build(tmp_path, "2"),
        "in use": build(tmp_path, "3"),
    }
    container = docker("create", NAME, "nothing")
    ids["named"] = build(tmp_path, "4")
    yield ids
    docker("rm", container)
    for image in docker("image", "ls", "--quiet", "--no-trunc").split():
        if image in ids.values():
            docker("image", "rm", "--force", image)


def test_only_unnamed_images_of_ours_that_no_container_uses_are_removed(images: dict[str, str]) -> None:
    assert old_images.find(time.time() - 86_400) == [], "too young"
    listed = old_images.find(time.time() + 60)
    assert listed is not None
    assert {images["old"], images["in use"]} == {image for image, _ in listed} & set(images.values())
    assert old_images.remove([images["old"], images["in use"]]) == 1
    remaining = set(docker("image", "ls", "--all", "--quiet", "--no-trunc").split())
    assert set(images.values()) - remaining == {images["old"]}
