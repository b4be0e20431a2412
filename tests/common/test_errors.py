"""Which errors a retry may cure: decided by type, in one place."""

import errno
import gzip
import http.client
import sqlite3
import urllib.error
from contextlib import nullcontext
from email.message import Message

import pytest

from stages.common import errors
from stages.tracking import TrackingError, Unreachable


def http_error(code: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://x", code, "answer", Message(), None)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        *((kind("x"), 1) for kind in (errors.ConvoyError, errors.ParamsError, errors.SourceError)),
        *((kind("x"), 1) for kind in (errors.StoreError, errors.LearnerError, errors.OutputError)),
        (TrackingError("refused"), 1),
        (errors.UsageError("x"), 2),
        (errors.DownloadError("x"), 75),
        (errors.LockedError("x"), 75),
        (Unreachable("x"), 75),
        (FileNotFoundError(errno.ENOENT, "x"), 1),
        (PermissionError(errno.EACCES, "x"), 1),
        (OSError(errno.ENOSPC, "x"), 75),
        (OSError(errno.EIO, "x"), 75),
        (OSError(errno.ESTALE, "x"), 75),
        (OSError("no number"), 75),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), 75),
        (TimeoutError("x"), 75),
        (urllib.error.URLError("no such host"), 75),
        (http_error(404), 1),
        (http_error(503), 75),
        (http_error(429), 75),
        (http.client.IncompleteRead(b""), 75),
        (ValueError("x"), 70),
        (MemoryError(), 70),
        (sqlite3.OperationalError("x"), 70),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_the_exit_status_goes_by_type(error: Exception, status: int) -> None:
    assert errors.exit_status(error) == status


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ESTALE, "x"), True),
        (OSError(errno.EMFILE, "x"), True),
        (PermissionError(errno.EACCES, "x"), False),
        (OSError("damaged bzip2"), False),
        (OSError(errno.EINVAL, "a place before the file's beginning"), False),
        (ValueError("x"), False),
    ],
)
def test_an_error_that_says_nothing_of_the_file_is_raised_again(error: Exception, raised: bool) -> None:
    with pytest.raises(OSError, match="x") if raised else nullcontext():
        errors.raise_if_transient(error)


def raised_in_answer_to(cause: Exception) -> Exception:
    """A bare Exception like Keras' when a download fails."""
    try:
        try:
            raise cause
        except type(cause):
            raise Exception("URL fetch failure")  # noqa: B904 (as Keras does)
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (urllib.error.URLError("no such host"), True),
        (http_error(503), True),
        (http_error(404), False),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (gzip.BadGzipFile("not a gzipped file"), False),
        (ValueError("wrong shape"), False),
    ],
)
def test_a_failed_download_is_known_by_the_error_behind_the_library_s(
    cause: Exception, expected: bool
) -> None:
    assert errors.is_failed_download(raised_in_answer_to(cause)) == expected


def test_a_bug_is_described_by_type_message_and_place() -> None:
    values: dict[str, int] = {}
    try:
        _ = values["missing"]
    except KeyError as error:
        line = errors.describe(error)
    assert line.startswith(f"KeyError: 'missing' at {__file__}:")
    assert line.endswith("; run again with --debug for the traceback")


def test_a_long_message_of_a_library_is_cut() -> None:
    line = errors.describe(TypeError("\x1b[1mCannot cast\x1b[0m " + "[0.0, 0.0], " * 1000))
    assert line.startswith("TypeError: Cannot cast [0.0, 0.0], ")
    assert "[…]; run again" in line
    assert len(line) < 400


def test_an_operating_system_s_error_names_the_file() -> None:
    assert errors.describe(OSError(errno.ENOSPC, "No space left", "data/x.h5")) == "data/x.h5: No space left"
    assert errors.describe(OSError("two\nlines")) == "two lines"
