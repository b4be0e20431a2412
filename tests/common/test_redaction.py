"""Credentials never get through, and other text stays as it is."""

import json

import pytest

from stages.common.redaction import redact


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("tracking at https://me:s3cret@host:5000/x failed", "tracking at https://***@host:5000/x failed"),
        ("postgresql+psycopg2://u:p@ss@word@db/mlflow", "postgresql+psycopg2://***@db/mlflow"),
        ("'http://token@host'", "'http://***@host'"),
        ("http://host/?a=1&password=s3cret&b=2", "http://host/?a=1&password=***&b=2"),
        ("https://h/a.zip?sv=2022&sig=aB%2F&se=1", "https://h/a.zip?sv=2022&sig=***&se=1"),
        (
            "s3 https://b/k?X-Amz-Date=1&X-Amz-Credential=AK/1&X-Amz-Security-Token=t&X-Amz-Signature=ab",
            "s3 https://b/k?X-Amz-Date=1&X-Amz-Credential=***&X-Amz-Security-Token=***&X-Amz-Signature=***",
        ),
        ("https://b/k?X-Goog-Signature=ab", "https://b/k?X-Goog-Signature=***"),
        ("https://b/k?AWSAccessKeyId=a&Signature=ab", "https://b/k?AWSAccessKeyId=***&Signature=***"),
        ("https://h/?apikey=a&api-key=b&x-api-key=c", "https://h/?apikey=***&api-key=***&x-api-key=***"),
        (
            "https://h/?client_secret=a&access_key=b&pwd=c",
            "https://h/?client_secret=***&access_key=***&pwd=***",
        ),
        ("https://h/?auth=a&authkey=b&id=3", "https://h/?auth=***&authkey=***&id=3"),
        ("https://h/?auth_token=t&key=k", "https://h/?auth_token=***&key=***"),
        ("http://a:b@one and http://c:d@two", "http://***@one and http://***@two"),
    ],
)
def test_credentials_are_replaced(text: str, safe: str) -> None:
    assert redact(text) == safe


def test_a_record_stays_json() -> None:
    """The backslash of the quote after the address went with the secret."""
    text = json.dumps({"error": 'GET "https://h/f?token=abc" failed'})
    assert json.loads(redact(text)) == {"error": 'GET "https://h/f?token=***" failed'}
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "models:/digits@champion",
        "a@example.org wrote http://host/path",
        "package @ http://host/file",
        "https://host/?signal=1&keys=2&tokens=3&author=4",
        "sqlite:////tmp/mlflow.db",
        '{"a": 0.5}',
    ],
)
def test_other_text_stays(text: str) -> None:
    assert redact(text) == text
