"""What the tests of the containers need around them."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip without a Docker engine."""
    try:
        subprocess.run(["docker", "info"], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no Docker engine is in reach; docker/with-engine.sh pytest tests/docker starts one")


@pytest.fixture(scope="session")
def base_image(engine: None) -> None:
    """Skip where the image that all others start from can be neither pulled nor made."""
    done = subprocess.run(["docker/base.sh"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr.strip())


@pytest.fixture(scope="session")
def image(base_image: None) -> str:
    """Build the data image, and give its name."""
    return build("data", ROOT, "convoy/data:test")


def build(target: str, context: Path, tag: str, *options: str) -> str:
    """Build a target of docker/'s Dockerfiles; returns the tag."""
    file = "stage" if target in ("data", "train", "train-gpu") else target
    words = ["docker", "build", "--file", f"docker/{file}.Dockerfile", "--target", target, "--tag", tag]
    done = subprocess.run(
        [*words, *options, "."],
        cwd=context,
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return tag
