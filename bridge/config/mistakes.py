"""Validation errors as mistakes that name a place in the file and what was expected there.

Invariant: no mistake holds the value of a secret, that is of a field that is (or contains) a SecretStr, or of
a scalar that came from the environment or a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import takewhile
from typing import Any, get_args

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from bridge.config.yamltree import (
    Mapping,
    Mark,
    Mistake,
    Node,
    Path,
    Scalar,
    Sequence,
    child,
    quoted,
    value_of,
    walk,
)

_SHOWN = 60
_FREE_TEXT = ("value_error", "assertion_error")  # pydantic's names for what a validator says in its own words

_KINDS = {
    "missing": "expected a value: this key is required",
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_parsing_size": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "decimal_parsing": "expected a number",
    "decimal_type": "expected a number",
    "path_type": "expected text",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "model_type": "expected a mapping",
    "dict_type": "expected a mapping",
    "mapping_type": "expected a mapping",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "set_type": "expected a list",
    "frozen_set_type": "expected a list",
}

_WORDS = (
    ("Value error, ", ""),
    ("Assertion failed, ", ""),
    ("Input should be", "expected"),
    ("String should have", "expected text with"),
    ("String should match", "expected text that matches the"),
    ("Value should have at least 1 item after validation, not 0", "expected a value that is not empty"),
    ("greater than or equal to", "at least"),
    ("less than or equal to", "at most"),
)


def mistakes_of(
    error: ValidationError, model: type[BaseModel], root: Node, above: Path = ()
) -> list[Mistake]:
    """One mistake for each of pydantic's errors about `root`, which was validated with `model` and lies under
    the path `above`. What is wrong at (or because of) a scalar that could not even be read is left out."""
    found = []
    for details in error.errors(include_url=False, include_input=False):
        place = _Place(root, model, details["loc"])
        if not _follows_from_another(place, details["type"]):
            path = above + (_named(place.path) if details["type"] == "extra_forbidden" else place.path)
            found.append(Mistake(place.mark(details["type"]), path, _text(details, place)))
    return found


def rest_of(error: ValidationError, model: type[BaseModel], root: Node) -> tuple[object, set[Path]]:
    """What the error leaves of `root` as a value: without each place that it names; and these places."""
    value = value_of(root)
    wrong = {_Place(root, model, details["loc"]).path for details in error.errors(include_url=False)}
    for path in wrong:
        _remove(value, path)
    return value, wrong


def _remove(value: Any, path: Path) -> None:
    """Of a list with a wrong item nothing stays."""
    keys = list(takewhile(lambda step: isinstance(step, str), path))
    for step in keys[:-1]:
        value = value.get(step) if isinstance(value, dict) else None
    if keys and isinstance(value, dict):
        value.pop(keys[-1], None)


def between_keys(
    error: ValidationError, model: type[BaseModel], root: Node, above: Path, wrong: set[Path]
) -> list[Mistake]:
    """The mistakes that lie between keys of one mapping (a password without a user name), but for those whose text
    names one of the keys that are `wrong` themselves: they may be gone once those are right."""
    names = {step for path in wrong for step in path}
    found = []
    for mistake in mistakes_of(error, model, root, above):
        path = mistake.path[len(above) :]
        node: Node | None = root
        for step in path:
            node = None if node is None else child(node, step)
        if (
            isinstance(node, Mapping)
            and path not in wrong
            and names.isdisjoint(re.findall(r"\w+", mistake.text))
        ):
            found.append(mistake)
    return found


def suggestion(word: str, known: list[str]) -> str:
    """What was probably meant by an unknown word, and if nothing is near, all that is known."""
    near = get_close_matches(word, known, n=1)
    return f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known) or 'none'}"


class _Place:
    """Where an error is: pydantic's location, followed in the tree as far as the tree goes. Steps that only
    the models know (`devices: [a]` is a mapping with `include` to them) are skipped."""

    def __init__(self, root: Node, model: type[BaseModel], loc: tuple[int | str, ...]) -> None:
        self.node: Node = root
        self.parent: Node = root
        self.path: Path = ()
        self.kind: Any = model
        self.parent_kind: Any = model
        self.absent = False
        for index, step in enumerate(loc, start=1):
            below = child(self.node, step)
            self.parent_kind, self.kind = self.kind, _field(self.kind, step)
            self.absent = below is None and index == len(loc) and isinstance(self.node, Mapping)
            if below is not None:
                self.parent, self.node = self.node, below
                self.path = (*self.path, step)
            elif self.absent and step != "[key]":
                self.path = (*self.path, step)

    def mark(self, kind: str) -> Mark:
        """The key where the key is the mistake, else the value, or the mapping where there is no value."""
        last = self.path[-1] if self.path else ""
        if kind == "extra_forbidden" and isinstance(self.parent, Mapping) and isinstance(last, str):
            return self.parent.keys.get(last, self.node.mark)
        return self.node.mark

    def secrets(self) -> list[str]:
        """The secret texts at this place and below."""
        texts = []
        for path, node in walk(self.node):
            if isinstance(node, Scalar) and node.text is not None:
                kind = self.kind
                for step in path:
                    kind = _field(kind, step)
                if node.secret or _holds_secret(kind):
                    texts.append(node.text)
        return texts


def _follows_from_another(place: _Place, kind: str) -> bool:
    """Whether the error is only there because a scalar could not be read, which has been reported."""
    if place.absent or kind == "extra_forbidden":
        return False
    if isinstance(place.node, Scalar):
        return place.node.broken
    broken = any(isinstance(node, Scalar) and node.broken for _path, node in walk(place.node))
    return broken and kind in _FREE_TEXT


def _text(details: ErrorDetails, place: _Place) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        name, known = str(_named(place.path)[-1]).removesuffix("…"), _known_keys(place.parent_kind)
        if name in known:
            return "expected a colon and a space between this key and its value"
        return f"unknown key; {suggestion(name, known)}"
    if kind == "missing":
        return _KINDS[kind]
    text = _KINDS.get(kind) or _reworded(details["msg"])
    if kind in _FREE_TEXT and _leaks(text, place.secrets()):
        return "expected another value (the reason would show a secret)"
    return text + _found(place, kind)


def _named(path: Path) -> Path:
    """The path to an unknown key, of which what cannot belong to a name is cut off: in `{password:x}` it is a value."""
    last = str(path[-1])
    name = re.match(r"[\w.-]*", last)
    return path if name is None or name[0] == last else (*path[:-1], f"{name[0]}…")


def _reworded(message: str) -> str:
    for theirs, ours in _WORDS:
        message = message.replace(theirs, ours)
    return message


def _found(place: _Place, kind: str) -> str:
    node = place.node
    if place.absent:
        return ""
    if isinstance(node, Mapping | Sequence):
        name = "mapping" if isinstance(node, Mapping) else "list"
        return f" (found a {name})" if kind.endswith("_type") else ""
    return "" if node.text is not None and _holds_secret(place.kind) else shown(node)


def shown(node: Scalar) -> str:
    """` (found "…")`, or nothing if the text is a secret or looks like a URL with a password or a token in it."""
    if node.text is None:
        return " (found nothing)"
    if node.secret or ("://" in node.text and re.search("[@?#]", node.text)):
        return ""
    text = node.text if len(node.text) <= _SHOWN else node.text[: _SHOWN - 1] + "…"
    return f" (found {quoted(text)})"


def _leaks(text: str, secrets: list[str]) -> bool:
    """Whether a secret, or a longer word of it, occurs in the text."""
    folded = text.casefold()
    words = (word for secret in secrets for word in (secret, *re.findall(r"[^\W_]{4,}", secret)))
    return any(word.casefold() in folded for word in words if word)


def _parts(kind: Any) -> Iterator[Any]:
    """A type and everything that it is made of: `tuple[A, ...] | None` gives A and None, too."""
    yield kind
    for argument in get_args(kind):
        yield from _parts(argument)


def _models(kind: Any) -> list[type[BaseModel]]:
    return [part for part in _parts(kind) if isinstance(part, type) and issubclass(part, BaseModel)]


def _field(kind: Any, step: int | str) -> Any:
    """The type below `step`; for an item of a list or a free mapping that of the whole."""
    for model in _models(kind):
        if step in model.model_fields:
            return model.model_fields[str(step)].annotation
    return kind


def _known_keys(kind: Any) -> list[str]:
    return [name for model in _models(kind) for name in model.model_fields]


def _holds_secret(kind: Any) -> bool:
    if any(part in (SecretStr, SecretBytes, Any) for part in _parts(kind)):
        return True
    return any(
        _holds_secret(info.annotation) for model in _models(kind) for info in model.model_fields.values()
    )
