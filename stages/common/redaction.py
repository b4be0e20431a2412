"""Credentials out of text: log lines, records and error texts pass through `redact`."""

import re

# USER:PASSWORD@ of a URI. A password may hold an unquoted @, so everything up to the last one goes.
_LOGIN = re.compile(r"(?<=://)[^/?#\s\"']*@")
_SECRETS = re.compile(r"(?i)([?&](?:password|passwd|token|access_token|api_key|secret)=)[^&\s\"']+")


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
