"""Credentials never get through, and other text stays as it is."""

import pytest

from stages.common.redaction import redact


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("tracking at https://me:s3cret@host:5000/x failed", "tracking at https://***@host:5000/x failed"),
        ("postgresql+psycopg2://u:p@ss@word@db/mlflow", "postgresql+psycopg2://***@db/mlflow"),
        ("'http://token@host'", "'http://***@host'"),
        ("http://host/?a=1&password=s3cret&b=2", "http://host/?a=1&password=***&b=2"),
        ("http://a:b@one and http://c:d@two", "http://***@one and http://***@two"),
    ],
)
def test_credentials_are_replaced(text: str, safe: str) -> None:
    assert redact(text) == safe


@pytest.mark.parametrize(
    "text",
    [
        "models:/digits@champion",
        "a@example.org wrote http://host/path",
        "package @ http://host/file",
        "sqlite:////tmp/mlflow.db",
        '{"a": 0.5}',
    ],
)
def test_other_text_stays(text: str) -> None:
    assert redact(text) == text
