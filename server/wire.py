"""HTTP as this server speaks it: the bounds of a request, the headers of every answer.

Both the application and the gunicorn worker in front of it answer, and so keep to this.
"""

import msgspec

MAX_BODY = 64 * 1024
"""The longest body of a request, in bytes."""

MAX_HEAD = 64 * 1024
"""The longest request line and headers together, in bytes."""

SERVER = "sportiv"
"""What the `Server` header says: the name, and no version."""

RETRY_AFTER = "1"
"""Seconds after which a client that was told to wait may try again."""

MISTAKE = "the server has made a mistake; its log says more"
"""The reason in the answer to a request that has failed for none of the client's making."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
"""What every answer says to browsers, unless its view has said otherwise."""


def error_content(reason: str) -> bytes:
    """The body of an error, in the one shape that all have; whatever `reason` holds."""
    text = reason.encode("utf-8", "backslashreplace").decode()
    return msgspec.json.encode({"status": "error", "reason": text})
