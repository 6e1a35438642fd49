"""The description of a dataset: which column of a table holds what, in a TOML file.

A description makes the server independent of one publisher's names. It says by which names
a column goes in the editions of the table, for which questions less is better, and which
names in requests mean the same. It knows nothing of the file with the figures itself.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from server.errors import DescriptionError

Texts = tuple[str, ...]


class Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The accepted names of each role's column, newest first; of an absent role, none."""

    location: Texts
    question: Texts
    value: Texts
    category: Texts = ()
    stratum: Texts = ()
    year: Texts = ()
    weight: Texts = ()

    def by_role(self) -> dict[str, Texts]:
        """The accepted names of each role that the table has."""
        return {role: names for role, names in msgspec.structs.asdict(self).items() if names}


class Questions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which direction of a question's value is good; higher, where neither list says."""

    better_low: Texts = ()
    better_high: Texts = ()


class Synonyms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Per role, groups of names that mean the same in older and newer editions."""

    question: tuple[Texts, ...] = ()
    location: tuple[Texts, ...] = ()
    category: tuple[Texts, ...] = ()
    stratum: tuple[Texts, ...] = ()


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a description file says; `source` is the address of the publisher."""

    title: str
    columns: Columns
    source: str | None = None
    questions: Questions = Questions()
    synonyms: Synonyms = Synonyms()

    def synonyms_of(self, role: str, name: str) -> Texts:
        """The other names of `name` among those of `role`; none where it has no synonym."""
        for group in getattr(self.synonyms, role, ()):
            if name in group:
                return tuple(other for other in group if other != name)
        return ()


def load_description(path: Path) -> Description:
    """The description in the TOML file `path`.

    Raises DescriptionError where the file cannot be read, is not TOML, has an unknown key
    or a value of the wrong type, or contradicts itself.
    """
    try:
        description = msgspec.convert(_with_lists(_toml(path)), Description)
        _check_columns(description.columns)
        _check_questions(description.questions)
        _check_synonyms(description.synonyms)
        _require(bool(description.title.strip()), "title: is empty")
    except msgspec.ValidationError as error:
        raise DescriptionError(path, str(error).replace("$.", "")) from None
    return description


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise DescriptionError(path, error.strerror or str(error)) from None
    except UnicodeDecodeError as error:
        raise DescriptionError(path, f"is not UTF-8: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise DescriptionError(path, f"is not TOML: {error}") from None


def _with_lists(content: dict[str, Any]) -> dict[str, Any]:
    """The same content with each column's lone name as a list of one."""
    columns = content.get("columns")
    if not isinstance(columns, dict):
        return content
    lists = {role: [name] if isinstance(name, str) else name for role, name in columns.items()}
    for role, names in lists.items():
        _require(names != [], f"columns.{role}: the list is empty")
    return {**content, "columns": lists}


def _check_columns(columns: Columns) -> None:
    roles = columns.by_role()
    for role, names in roles.items():
        for name in names:
            _require(name == name.strip() != "", f"columns.{role}: {name!r} names no column")
    _check_disjoint({f"columns.{role}": names for role, names in roles.items()})
    together = ("category" in roles) == ("stratum" in roles)
    _require(together, "columns: category and stratum go together, and only one is there")


def _check_questions(questions: Questions) -> None:
    lists: Mapping[str, Texts] = msgspec.structs.asdict(questions)
    _check_disjoint({f"questions.{name}": texts for name, texts in lists.items()})


def _check_synonyms(synonyms: Synonyms) -> None:
    for role, groups in msgspec.structs.asdict(synonyms).items():
        for group in groups:
            _require(len(group) > 1, f"synonyms.{role}: a group needs two names, not {group!r}")
        _check_disjoint({f"synonyms.{role}, group {n}": g for n, g in enumerate(groups, 1)})


def _check_disjoint(lists: Mapping[str, Iterable[str]]) -> None:
    """No text stands in two of the lists, or twice in one."""
    seen: dict[str, str] = {}
    for place, texts in lists.items():
        for text in texts:
            _require(text not in seen, f"{place}: {text!r} is in {seen.get(text)} already")
            seen[text] = place


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise msgspec.ValidationError(reason)
