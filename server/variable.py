"""An environment variable: its name, its default, its parser, and its sentence.

A parser makes a value of the text of a variable, or raises ValueError.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from server.errors import SettingError

PREFIX = "SPORTIV_"
"""With which the name of every variable begins."""

OF_OTHERS = ("SPORTIV_URL", "SPORTIV_TEST_")
"""How variables begin that the client and the tests read."""

ALIKE = 0.7
"""How alike two names are, of 1, where one may be a misspelling of the other."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable: how to read it, and what a person needs to know of it.

    `older` is a variable that is taken where this one is not set. `parse` raises ValueError
    for a text that is not `allowed`. Where the default depends on the machine, `preset`
    makes it and `default` says in words what it is. No message shows the text of a `secret`.
    """

    name: str
    default: str
    allowed: str
    about: str
    parse: Callable[[str], Any]
    preset: Callable[[], Any] | None = None
    older: str | None = None
    secret: bool = False

    def read(self, environment: Mapping[str, str]) -> Any:
        """The variable's value; an empty one counts as not set."""
        names = [name for name in (self.name, self.older) if name and environment.get(name)]
        if not names:
            return self.preset() if self.preset else self.parse(self.default)
        text = environment[names[0]]
        try:
            return self.parse(text)
        except ValueError:
            shown = "(hidden)" if self.secret else text
            raise SettingError(names[0], shown, self.allowed) from None


def address(text: str) -> Address:
    """`host:port`, an IPv6 address in brackets."""
    host, colon, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(text)
    return Address(host, int(port))


def scheduler(text: str) -> str:
    """Where a Dask scheduler listens: `tcp://host:port`, or `tls://host:port`."""
    protocol, separator, rest = text.strip().partition("://")
    if protocol not in ("tcp", "tls") or not separator:
        raise ValueError(text)
    return f"{protocol}://{address(rest)}"


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number in these bounds, both included."""

    def parse(text: str) -> int:
        number = int(text)
        if not least <= number <= most:
            raise ValueError(text)
        return number

    return parse


def seconds(least: float, most: float) -> Callable[[str], float]:
    """A number of seconds in these bounds, both included."""

    def parse(text: str) -> float:
        number = float(text)
        if not least <= number <= most:
            raise ValueError(text)
        return number

    return parse


def seconds_or_none(least: float, most: float) -> Callable[[str], float]:
    """As `seconds`, but 0 stands for no bound: infinity."""
    bounded = seconds(least, most)
    return lambda text: math.inf if float(text) == 0 else bounded(text)


def size(least: int) -> Callable[[str], int]:
    """A size in bytes, or with K, M or G behind it in powers of 1024."""

    def parse(text: str) -> int:
        text = text.strip().upper()
        exponent = "KMG".find(text[-1:]) + 1
        digits = text[:-1] if exponent else text
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError(text)
        number = int(digits) << 10 * exponent
        if not least <= number < 2**62:
            raise ValueError(text)
        return number

    return parse


def flag(text: str) -> bool:
    """1 or 0, or a word for it."""
    values = dict.fromkeys(("1", "true", "yes", "on"), True)
    values |= dict.fromkeys(("0", "false", "no", "off"), False)
    if text.lower() not in values:
        raise ValueError(text)
    return values[text.lower()]


def path(text: str) -> Path:
    """An absolute path."""
    try:
        text.encode()  # ValueError: a name that is no text could not be told to other processes
        return Path(text).expanduser().absolute()
    except RuntimeError as error:  # the home of a user that there is not
        raise ValueError(text) from error


def path_or_none(text: str) -> Path | None:
    """As `path`, but 0 stands for none."""
    return None if text == "0" else path(text)


def strangers(environment: Mapping[str, str], known: Sequence[str]) -> Iterator[str]:
    """A sentence for each variable that is named as if it were a setting of the server."""
    for name in sorted(environment):
        if name.startswith(PREFIX) and not (name in known or name.startswith(OF_OTHERS)):
            suffixes = {each.removeprefix(PREFIX): each for each in known}
            near = get_close_matches(name.removeprefix(PREFIX), suffixes, n=1, cutoff=ALIKE)
            meant = f"; is {suffixes[near[0]]} meant?" if near else ""
            yield f"{name} is no setting{meant}"


def setting(name: str, **variable: Any) -> Any:
    """A field of a dataclass that is read from the variable `name`."""
    return field(metadata={"variable": Variable(name, **variable)})
