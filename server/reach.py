"""Who can reach the server: this machine alone, or others too, and then only with a secret."""

import hmac
import ipaddress
import re
from collections.abc import Iterable

from server.errors import StartError

_SECRET = re.compile(r"[!-~]{16,}")


class Secret:
    """A text that nobody is shown: it can only be compared."""

    __slots__ = ("_content",)

    def __init__(self, text: str) -> None:
        """ValueError for less than 16 characters, or others than a header can carry."""
        if not _SECRET.fullmatch(text):
            raise ValueError("a secret that is none")
        self._content = text.encode()

    def equals(self, text: str) -> bool:
        """Whether this is the secret; takes as long wherever the first difference is."""
        return hmac.compare_digest(self._content, text.encode("utf-8", "surrogatepass"))

    def __repr__(self) -> str:
        """Hidden, so that no log and no message holds it by accident."""
        return "<secret>"


def only_from_here(host: str) -> bool:
    """Whether nobody but this machine can reach what listens at `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_reach(addresses: Iterable[object], token: Secret | None) -> None:
    """StartError where others could reach one of these addresses without a token.

    An address is a pair that begins with a host, the path of a socket, which has permissions
    of its own, or an inherited descriptor, which may be any.
    """
    for address in addresses if token is None else ():
        match address:
            case (str(host), *_):
                closed = only_from_here(host)
            case str():
                closed = True
            case _:
                closed, host = False, f"descriptor {address}"
        if not closed:
            raise StartError(
                f"listening at {host} lets other machines in: set SPORTIV_TOKEN to a secret of at "
                "least 16 characters, or listen at 127.0.0.1"
            )
