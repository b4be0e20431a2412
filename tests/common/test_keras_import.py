"""What a user sees on the terminal while Keras is imported."""

import os
import re
import subprocess
import sys

import pytest

from stages.common import keras_import
from stages.common.errors import UsageError
from tests.paths import ROOT

NOTICE = "port.cc:153] oneDNN custom operations are on. You may see slightly different numerical results"


def printed(*lines: str, **variables: str) -> str:
    words = [sys.executable, "-c", "\n".join(("import os", "from stages.common import keras_import", *lines))]
    environment = os.environ | variables
    return subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    ).stderr


@pytest.mark.slow
def test_importing_keras_prints_nothing_and_later_lines_are_seen() -> None:
    assert printed("keras_import.import_keras()", "os.write(2, b'later')") == "later"


def test_the_reason_is_seen_where_tensorflow_ends_the_process() -> None:
    notices = f"os.write(2, b'{NOTICE}\\nAVX instructions are not available\\n')"
    program = ["with keras_import._without_notices():", f"    {notices}", "    os.abort()"]
    assert printed(*program) == "AVX instructions are not available\n"
    assert printed(*program, PATH="") == f"{NOTICE}\nAVX instructions are not available\n"


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("torch", "KERAS_BACKEND is torch; allowed: tensorflow, jax"),
        (
            "jax",
            "KERAS_BACKEND is jax, which is not installed; `KERAS_BACKEND=jax make run` installs it",
        ),
    ],
)
def test_a_backend_that_cannot_be_used_is_named(
    backend: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(keras_import, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=re.escape(reason)):
        keras_import.import_keras()
