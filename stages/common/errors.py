"""The errors that a command reports in one line, and which of them a retry may cure.

This module is the one place that tells permanent errors from transient ones. `exit_status` goes by type:

    1    permanent: bad params, bad data, refused, a path that is wrong; a person has to act
    2    permanent: the command line is wrong
    70   unexpected: a bug, or an error that nobody classified; a retry may help (EX_SOFTWARE)
    75   transient: network, download, disk full, lock held, stale file handle, server unreachable, and any
         OSError of unknown cause (EX_TEMPFAIL)
    130  stopped by the keyboard
    143  stopped by SIGTERM, as a shell has it; within a training 75, as the same command resumes it

Airflow's worker retries everything but 1 and 2 (pipelines/worker/dvc.py).
"""

import errno
import re
import textwrap
import traceback
import zlib
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from zipfile import BadZipFile

PERMANENT, WRONG_USAGE, UNEXPECTED, TRANSIENT, INTERRUPTED, TERMINATED = 1, 2, 70, 75, 130, 143

# A second SIGTERM within them is the same request: a program that stops a process group often signals its
# members too.
SECONDS_OF_ONE_REQUEST = 2.0

# The operating system's errors that repeat until a person changes a path or its permissions.
_PERMANENT_ERRNO = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.EPERM,
        errno.EROFS,
    }
)
# What readers of models and checkpoints raise of a file that is damaged or something else, after
# `raise_if_transient`. zipfile raises RuntimeError for flags and versions that it does not know.
UNREADABLE = (
    BadZipFile,
    EOFError,
    IndexError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zlib.error,
)
# A terminal's codes for bold text and colours.
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# A server's answers that repeat: bad request, no permission, not there.
_PERMANENT_HTTP = frozenset({400, 401, 403, 404, 405, 410, 451})


class ConvoyError(Exception):
    """Base of all errors whose message is meant for users: what happened, where, and what is allowed.

    Permanent unless the class also derives from TransientError. `status` is the command's exit status.
    """

    status = PERMANENT


class Terminated(BaseException):
    """SIGTERM stops the command. `except Exception` does not catch it, as with KeyboardInterrupt."""


class TransientError(ConvoyError):
    """A retry may succeed without any change by a person."""

    status = TRANSIENT


class DownloadError(TransientError):
    """A file cannot be downloaded: no network, or a server that does not answer."""


class LockedError(TransientError):
    """Another process holds what this one needs."""


class TrainingInterruptedError(TransientError):
    """SIGTERM stopped a training; the same command resumes at its checkpoint."""


class UsageError(ConvoyError):
    """The command line, or a variable of the environment, is wrong."""

    status = WRONG_USAGE


class ParamsError(ConvoyError):
    """A value or key in the params is not allowed."""


class OutputError(ConvoyError):
    """An output's path holds something that this command did not write."""


class SourceError(ConvoyError):
    """The images cannot be taken from the source."""


class ImageError(ConvoyError):
    """A file is not an image that can be used; the message is the reason, without the name."""


class DamagedError(ImageError):
    """A decoder has to guess pixels of an image: it is cut off, overwritten or has a wrong checksum."""


class StoreError(ConvoyError):
    """A stage's input file is missing, was not written by this project, or contradicts the params."""


class WorkerError(ConvoyError):
    """A worker has other code, packages or hardware than the stage that would use it."""


class LearnerError(ConvoyError):
    """A member cannot be fitted or loaded with its params."""


class DivergedError(LearnerError):
    """A training's loss or weights are no longer numbers; a lower learning rate may help."""


class ServingError(ConvoyError):
    """A model cannot be put together, loaded, exported or promoted."""


class InterruptedServingError(TransientError, ServingError):
    """A model's process was killed, its files could not be fetched, or another promotion was in the way."""


def exit_status(error: BaseException) -> int:
    """Return the exit status of a command that ends with `error`; the module's docstring lists them."""
    if isinstance(error, ConvoyError):
        return error.status
    if isinstance(error, HTTPError):
        return PERMANENT if error.code in _PERMANENT_HTTP else TRANSIENT
    if isinstance(error, HTTPException):
        return TRANSIENT
    if isinstance(error, OSError):
        return PERMANENT if error.errno in _PERMANENT_ERRNO else TRANSIENT
    return UNEXPECTED


def raise_if_transient(error: Exception) -> None:
    """Raise an error of reading a file again where it says nothing of the file: a retry may cure it.

    Returns for what would repeat, and for what readers raise of damaged files: an OSError without a number,
    or EINVAL, as an archive's directory can name a place that no file has.
    """
    of_system = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)
    if of_system and exit_status(error) == TRANSIENT:
        raise error


def is_failed_download(error: BaseException) -> bool:
    """Return whether a library's error comes from the network or the disk, and not from the data.

    Keras raises a bare Exception when a download fails, in answer to the network's own error. An OSError
    without a number is no sign of either: damaged gzip and HDF5 files raise it, too.
    """
    cause: BaseException | None = error
    while cause is not None:
        by_network = isinstance(cause, URLError | HTTPException | ConnectionError | TimeoutError)
        by_disk = isinstance(cause, OSError) and cause.errno is not None
        if (by_network or by_disk) and exit_status(cause) == TRANSIENT:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def describe(error: BaseException) -> str:
    """Return one line about `error` for users.

    An unexpected error is described by type, message and the place it was raised at, so that it can be
    reported without a second run. Its message is cut after 300 characters: Keras' contain whole arrays.
    """
    message = " ".join(str(error).split())
    if isinstance(error, ConvoyError):
        return message
    if isinstance(error, OSError):
        if error.filename and error.strerror:
            return f"{error.filename}: {error.strerror}"
        return error.strerror or message or type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    short = textwrap.shorten(_ANSI.sub("", message), 300, placeholder=" […]")
    name = f"{type(error).__name__}: {short}" if short else type(error).__name__
    return f"{name}{place}; run again with --debug for the traceback"
