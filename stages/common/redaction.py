"""Credentials out of text: log lines, records and error texts pass through `redact`."""

import re
from collections.abc import Mapping
from typing import Any

# USER:PASSWORD@ of a URI. A password may hold an unquoted @, so everything up to the last one goes.
_LOGIN = re.compile(r"(?<=://)[^/?#\s\"']*@")
# Of a query: the names of passwords, keys and tokens with whatever is before them (x-amz-security-token). A
# value ends before a backslash, too: in JSON, that is of the quote that follows.
_SECRETS = re.compile(
    r"""(?ix) ( [?&] (?: [\w.-]* (?: password | passwd | pwd | secret | token | credential | signature
    | api[_-]?key | access[_-]?key (?: [_-]?id )? | auth (?: [_-]?key )? ) | key | sig ) = ) [^&\s"'\\]+"""
)


def redact(text: str) -> str:
    """Replace the login of every URI, and secrets among its query's parameters, by `***`.

    Args:
        text: Any text; text without a URI comes back unchanged.

    Returns:
        The same text, safe to show, store and send.
    """
    if "://" not in text:
        return text
    return _SECRETS.sub(r"\1***", _LOGIN.sub("***@", text))


def redact_all(value: Any) -> Any:
    """Redact every text in a value of JSON's kinds; the values of mappings and lists, too."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: redact_all(inside) for key, inside in value.items()}
    if isinstance(value, list):
        return [redact_all(inside) for inside in value]
    return value
