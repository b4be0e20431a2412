"""What a stage and a Dask worker check without a scheduler."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from stages.common import executor, fingerprint
from stages.models import predicting

pytest.importorskip("distributed", reason="the extra `dask` is not installed")
from stages.common import dask_identity
from tests.paths import ROOT

pytestmark = pytest.mark.slow


def test_threads_of_a_worker_look_at_its_code_once() -> None:
    looks, together = [], threading.Barrier(4)

    def look() -> dict[str, Any]:
        looks.append(1)
        return predicting.follows_from("cnn")

    def call(_: int) -> str:
        together.wait()
        return fingerprint.digest(dask_identity.own(expected))

    expected = dask_identity.Expected("an execution of this test", look, (), "")
    with ThreadPoolExecutor(4) as threads:
        digests = set(threads.map(call, range(4)))
    assert (len(looks), len(digests)) == (1, 1)


def test_an_address_without_the_encryption_that_is_required_is_refused_at_once() -> None:
    # As a command of its own: the end of a client that Dask left open would delay its exit by 30 s.
    script = "from stages.common import executor\nwith executor.opened(dict): pass"
    variables = {executor.VARIABLE: "tcp://127.0.0.1:1", "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    expected = f"UsageError: {executor.VARIABLE} is 'tcp://127.0.0.1:1': encryption required by Dask"
    assert expected in done.stderr.splitlines()[-1]


def test_the_first_difference_is_named() -> None:
    stage = {"python": "3.11", "versions": {"numpy": "2.4.0", "opencv": "4.12"}}
    worker = {"python": "3.11", "versions": {"numpy": "2.3.1"}}
    expected = "versions.numpy is 2.4.0 in the stage and 2.3.1 in the worker"
    assert dask_identity.difference(stage, worker) == expected
    assert dask_identity.difference({}, {"a": 1}) == "a is missing in the stage and 1 in the worker"
