"""Names of the table by a part of their text: what is meant, or what there is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from server.client import Client

_MOST_SHOWN = 20


def matches(text: str, known: Sequence[str]) -> list[str]:
    """Those of `known` that `text` may mean, whatever the case of its letters.

    The very same text is meant alone; else those that contain it; else those that contain each
    of its words.
    """
    wanted = text.casefold()
    by_text = {name: name.casefold() for name in known}
    for meant in (
        [name for name in known if name == text],
        [name for name in known if by_text[name] == wanted],
        [name for name in known if wanted in by_text[name]],
        [name for name in known if all(word in by_text[name] for word in wanted.split())],
    ):
        if meant:
            return meant
    return []


def meant(kind: str, text: str, known: Sequence[str]) -> str:
    """The one name that `text` is a part of; a usage error lists them where they are several.

    A text that none contains is left as it is: the server knows older names too, and else says
    what is nearest.
    """
    found = matches(text, known) if text.strip() else []
    if len(found) > 1:
        shown = "".join(f"\n  {name}" for name in found[:_MOST_SHOWN])
        rest = f"\n  and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
        raise click.UsageError(f"{len(found)} names of a {kind} contain {text!r}:{shown}{rest}")
    return found[0] if found else text


@dataclass
class Vocabulary:
    """The names of one server's table, each list asked for when it is needed first."""

    client: "Client"

    @cached_property
    def questions(self) -> list[str]:
        return [each["question"] for each in self.client.questions()]

    @cached_property
    def states(self) -> list[str]:
        return self.client.states()

    @cached_property
    def categories(self) -> dict[str, list[str]]:
        return {each["category"]: each["strata"] for each in self.client.categories()}

    def known(self, kind: str, category: str | None = None) -> list[str]:
        """The names of this kind; strata only of the category, where one is given."""
        match kind:
            case "question":
                return self.questions
            case "state":
                return self.states
            case "category":
                return list(self.categories)
        strata = self.categories.get(category or "")
        return strata or list(dict.fromkeys(_all(self.categories)))

    def filled_in(
        self, request: Mapping[str, Any], fields: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """The request with each name in full; `fields` say which of its fields hold names."""
        kinds = {field["name"]: field["vocabulary"] for field in fields if "vocabulary" in field}
        filled = dict(request)
        for name in sorted(filled, key=lambda name: name != "category"):
            if name in kinds:
                known = self.known(kinds[name], filled.get("category"))
                filled[name] = _each(kinds[name], filled[name], known)
        return filled


def _each(kind: str, given: Any, known: Sequence[str]) -> Any:
    if isinstance(given, str):
        return meant(kind, given, known)
    if isinstance(given, list | tuple):
        return [meant(kind, text, known) if isinstance(text, str) else text for text in given]
    return given


def _all(categories: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for strata in categories.values():
        yield from strata
