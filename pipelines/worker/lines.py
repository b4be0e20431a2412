"""Lines that programs write: the error of a stage, a refused login, secrets that must not be shown."""

import json
import re

# What begins the line that carries the result, where there is no file for it.
RESULT_LINE = "convoy-result: "
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


def mistake_in(line: str) -> str | None:
    """The message of a line in which a stage reports an error; None for another line."""
    if not (match := _ERROR.search(line)):
        return None
    event = match["event"]
    return str(json.JSONDecoder().raw_decode(event)[0]) if event.startswith('"') else event.partition(" ")[0]


def event_in(line: str) -> dict[str, str] | None:
    """The fields of a line in which a stage reports an event, its name as `event`; None for another line."""
    if not _EVENT.match(line):
        return None
    fields = {field["key"]: field["value"] for field in _FIELD.finditer(line)}
    return {
        key: str(json.loads(value)) if value.startswith('"') else value
        for key, value in fields.items()
        if key not in ("time", "level", "stage")
    }


def login_refused(text: str) -> bool:
    """Whether a server has refused a login, or there is none."""
    return bool(_REFUSED.search(text))


def has_login(text: str) -> bool:
    """Whether a URL in a text has a user or a password."""
    return bool(_LOGIN.search(text))


def without_login(text: str) -> str:
    """A text without the user and password of each URL in it; secrets in a URL's query become `***`."""
    return _SECRETS.sub(r"\1***", _LOGIN.sub("", text)) if "://" in text else text
