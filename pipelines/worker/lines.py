"""Lines that programs write: the error of a stage, a refused login, secrets that must not be shown."""

import json
import re
from typing import Any

# What begins a line that carries a part of the result, where there is no file for it: NUMBER/COUNT.
_RESULT = re.compile(r"convoy-result (?P<number>\d+)/(?P<count>\d+): (?P<part>.*)")
# Characters, of up to four bytes. Container runtimes split lines at 16 KiB, and a node before Kubernetes 1.26
# puts a time into the middle of such a line, which may still be JSON.
_LONGEST_PART = 4000
_ERROR = re.compile(r"level=error .*?event=(?P<event>.*)")
_EVENT = re.compile(r"\btime=\S+ level=(?:info|warning) .*?\bevent=")
_FIELD = re.compile(r'(?P<key>\w+)=(?P<value>"(?:[^"\\]|\\.)*"|\S*)')
# These two are those of stages/common/redaction.py, which cannot be imported here; a test compares them.
_LOGIN = re.compile(r"(?<=://)[^/?#\s\"']*@")
_SECRETS = re.compile(
    r"""(?ix) ( [?&] (?: [\w.-]* (?: password | passwd | pwd | secret | token | credential | signature
    | api[_-]?key | access[_-]?key (?: [_-]?id )? | auth (?: [_-]?key )? ) | key | sig ) = ) [^&\s"'\\]+"""
)
# Of git and ssh, and of DVC's remotes. A second try with the same login meets the same answer.
_REFUSED = re.compile(
    r"Authentication failed|could not read (Username|Password)|Permission denied \("
    r"|Host key verification failed|requested URL returned error: 40[13]|HTTP Basic: Access denied"
    r"|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|Unable to locate credentials"
)


def result_lines(text: str) -> list[str]:
    """A result as lines of the output; `Result` puts it together again."""
    parts = [text[start : start + _LONGEST_PART] for start in range(0, len(text), _LONGEST_PART)]
    return [f"convoy-result {number}/{len(parts)}: {part}" for number, part in enumerate(parts, start=1)]


class Result:
    """The result that an output has in some of its lines.

    Attributes:
        value: The result; None until its last line has come.
    """

    def __init__(self) -> None:
        self.value: dict[str, Any] | None = None
        self._parts: list[str] = []

    def sees(self, line: str) -> bool:
        """Take in a line; returns whether it is one of the result's."""
        if not (match := _RESULT.fullmatch(line)):
            return False
        number, count = int(match["number"]), int(match["count"])
        # A worker that is started again writes its result anew.
        self._parts = [*self._parts[: number - 1], match["part"]]
        if number == count == len(self._parts):
            self.value = json.loads("".join(self._parts))
        return True


def mistake_in(line: str) -> str | None:
    """The message of a line in which a stage reports an error; None for another line."""
    if not (match := _ERROR.search(line)):
        return None
    event = match["event"]
    try:
        return (
            str(json.JSONDecoder().raw_decode(event)[0]) if event.startswith('"') else event.partition(" ")[0]
        )
    except ValueError:
        # A person's own stage may write a backslash as it is.
        return event


def event_in(line: str) -> dict[str, str] | None:
    """The fields of a line in which a stage reports an event, its name as `event`; None for another line."""
    if not _EVENT.match(line):
        return None
    fields = {field["key"]: field["value"] for field in _FIELD.finditer(line)}
    return {key: _unquoted(value) for key, value in fields.items() if key not in ("time", "level", "stage")}


def _unquoted(value: str) -> str:
    try:
        return str(json.loads(value)) if value.startswith('"') else value
    except ValueError:
        return value.strip('"')


def login_refused(text: str) -> bool:
    """Whether a server has refused a login, or there is none."""
    return bool(_REFUSED.search(text))


def has_login(text: str) -> bool:
    """Whether a URL in a text has a user or a password."""
    return bool(_LOGIN.search(text))


def without_login(text: str) -> str:
    """A text without the user and password of each URL in it; secrets in a URL's query become `***`."""
    return _SECRETS.sub(r"\1***", _LOGIN.sub("", text)) if "://" in text else text
