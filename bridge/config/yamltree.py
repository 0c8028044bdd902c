"""YAML as a tree of nodes that know where they stand.

Scalars are kept as text, exactly as written: `0123`, `1e5`, `2024-01-01` and `off` are those characters and
nothing else, and the type of the settings field decides later whether they are an id, a number or a truth. So
no device id is ever turned into a number and `http.listen: off` is no riddle; a field for whole numbers reads
the text "1883" as gladly as YAML's number, which makes `${PORT}` work everywhere. Only null (an unquoted `~`,
`null` or nothing) is kept apart, as `Scalar.text` None.

Aliases and merge keys (`<<`) are followed, within bounds: a file cannot unfold into more than `MAX_REPEATED`
nodes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import yaml

MAX_REPEATED = 10_000
MAX_DEPTH = 40

Step = str | int
Path = tuple[Step, ...]


class Mark(NamedTuple):
    """A place in the file; both count from 1."""

    line: int
    column: int


class Mistake(NamedTuple):
    """Something that the operator has to change: where, at which key, and what was expected."""

    mark: Mark
    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Scalar:
    """`text` is None for null. `secret`: its text came from the environment or a file and is never shown.
    `broken`: it could not be read, which has been reported."""

    mark: Mark
    text: str | None
    secret: bool = False
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    mark: Mark
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping, in the order of the file; `keys` has the places of the keys."""

    mark: Mark
    entries: dict[str, Node]
    keys: dict[str, Mark]


Node = Scalar | Sequence | Mapping


class Unreadable(ValueError):
    """A reference (`${NAME}`, `!file`) that leads nowhere. The text says what was expected."""


class Resolved(NamedTuple):
    """The text of a scalar after its references; `secret` if there were any."""

    text: str
    secret: bool


Resolve = Callable[[str, bool], Resolved]
"""Resolves the references in a scalar; the flag is set where it is tagged `!file`. Raises Unreadable."""

_CORE = "tag:yaml.org,2002:"
_TEXT_TAGS = {_CORE + name for name in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")}


def child(node: Node, step: Step) -> Node | None:
    """The node one step below, if there is one."""
    if isinstance(node, Mapping) and isinstance(step, str):
        return node.entries.get(step)
    if isinstance(node, Sequence) and isinstance(step, int) and 0 <= step < len(node.items):
        return node.items[step]
    return None


def walk(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """The node and everything below it, with paths that begin with `path`."""
    yield path, node
    if isinstance(node, Mapping):
        for key, below in node.entries.items():
            yield from walk(below, (*path, key))
    elif isinstance(node, Sequence):
        for index, below in enumerate(node.items):
            yield from walk(below, (*path, index))


def value_of(node: Node) -> object:
    """The node as dict, list, str and None."""
    if isinstance(node, Mapping):
        return {key: value_of(below) for key, below in node.entries.items()}
    if isinstance(node, Sequence):
        return [value_of(below) for below in node.items]
    return node.text


def path_text(path: Path) -> str:
    """A path as people write it: `accounts[1].devices.names["a b"]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]+", step):
            text += f".{step}" if text else step
        else:
            text += f"[{quoted(step)}]"
    return text


def quoted(text: str) -> str:
    """A text in quotes and on one line, whatever is in it."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def parse(text: str, resolve: Resolve) -> tuple[Node | None, list[Mistake]]:
    """The tree of a YAML text and the mistakes found so far; no tree where it is no YAML or empty."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        return None, [_syntax_mistake(error, text)]
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        mark = Mark(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        return None, [
            Mistake(
                mark, (), f"not valid YAML: the character U+{ord(text[error.position]):04X} is not allowed"
            )
        ]
    except RecursionError:
        return None, [Mistake(Mark(1, 1), (), "nested too deeply")]
    except (ValueError, OverflowError):  # PyYAML on "\UFFFFFFFF" and on %YAML with thousands of digits
        return None, [
            Mistake(Mark(1, 1), (), "not valid YAML: a number in an escape or a directive is too large")
        ]
    if root is None:
        return None, []
    builder = _Builder(resolve)
    try:
        return builder.node(root, ()), builder.mistakes
    except _TooMuchError as error:
        return None, [*builder.mistakes, error.mistake]


def _syntax_mistake(error: yaml.MarkedYAMLError, text: str) -> Mistake:
    mark = error.problem_mark or error.context_mark
    problem = _without_content(error.problem or "syntax error")
    if error.context:
        problem += f" ({_without_content(error.context)})"
    if mark is None:
        return Mistake(Mark(1, 1), (), f"not valid YAML: {problem}")
    around = text[max(0, mark.index - 1) : mark.index + 1]
    if around == "${":
        problem += '; between { } or [ ] write it with quotes: "${NAME}"'
    elif around[-1:] == "\t":
        problem += "; YAML is indented with spaces"
    elif "alias" in problem or around[-1:] in ("@", "`", "%"):
        problem += "; a text that begins with a special character needs quotes"
    return Mistake(_mark(mark), (), f"not valid YAML: {problem}")


def _without_content(message: str) -> str:
    """PyYAML's message without the words that it quotes: one may be a password that begins with `*`."""
    return re.sub(
        r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")""",
        lambda match: match[0] if len(match[1]) == 3 or match[1].startswith("'<") else "…",
        message,
    )


def _mark(mark: yaml.Mark) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)


class _TooMuchError(Exception):
    def __init__(self, mistake: Mistake) -> None:
        super().__init__(mistake.text)
        self.mistake = mistake


@dataclass(slots=True)
class _Builder:
    resolve: Resolve
    mistakes: list[Mistake] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    repeated: int = 0

    def node(self, source: yaml.Node, path: Path) -> Node:
        mark = _mark(source.start_mark)
        self._stay_within_bounds(source, mark, path)
        if isinstance(source, yaml.MappingNode) and source.tag == _CORE + "map":
            return self._mapping(source, mark, path)
        if isinstance(source, yaml.SequenceNode) and source.tag == _CORE + "seq":
            return Sequence(
                mark, tuple(self.node(item, (*path, index)) for index, item in enumerate(source.value))
            )
        if isinstance(source, yaml.ScalarNode) and (source.tag in _TEXT_TAGS or source.tag == "!file"):
            return self._scalar(source, mark, path)
        self._report(mark, path, "expected no tag but !file; a text that begins with ! needs quotes")
        return Scalar(mark, "", broken=True)

    def _stay_within_bounds(self, source: yaml.Node, mark: Mark, path: Path) -> None:
        if len(path) > MAX_DEPTH:
            raise _TooMuchError(Mistake(mark, (), f"nested too deeply: expected at most {MAX_DEPTH} levels"))
        if id(source) in self.seen:
            self.repeated += 1
        self.seen.add(id(source))
        if self.repeated > MAX_REPEATED:
            raise _TooMuchError(Mistake(mark, (), f"aliases unfold into more than {MAX_REPEATED} nodes"))

    def _scalar(self, source: yaml.ScalarNode, mark: Mark, path: Path) -> Scalar:
        if source.tag == _CORE + "null":
            return Scalar(mark, None)
        try:
            text, secret = self.resolve(source.value, source.tag == "!file")
            text.encode()
        except UnicodeEncodeError:
            self._report(mark, path, "expected text; it holds half a character (a lone surrogate)")
        except Unreadable as error:
            self._report(mark, path, str(error))
        else:
            if not text and secret and source.style is None:
                return Scalar(
                    mark, None, secret=True
                )  # an empty ${NAME} without quotes is as good as no value
            return Scalar(mark, text, secret=secret)
        return Scalar(mark, "", broken=True)

    def _mapping(self, source: yaml.MappingNode, mark: Mark, path: Path) -> Mapping:
        result = Mapping(mark, {}, {})
        merged: list[yaml.Node] = []
        for key, below in source.value:
            if key.tag == _CORE + "merge":
                merged.extend(below.value if isinstance(below, yaml.SequenceNode) else [below])
            elif not isinstance(key, yaml.ScalarNode) or key.tag not in _TEXT_TAGS - {_CORE + "null"}:
                self._report(_mark(key.start_mark), path, "expected a text as key")
            elif not key.value.isprintable():
                self._report(_mark(key.start_mark), path, "expected a key without control characters")
            elif key.value in result.entries:
                first = result.keys[key.value].line
                text = f"expected each key once; this one is already in line {first}"
                self._report(_mark(key.start_mark), (*path, key.value), text)
            else:
                result.keys[key.value] = _mark(key.start_mark)
                result.entries[key.value] = self.node(below, (*path, key.value))
        for other in merged:
            self._merge(result, other, path)
        return result

    def _merge(self, result: Mapping, other: yaml.Node, path: Path) -> None:
        node = self.node(other, (*path, "<<"))
        if not isinstance(node, Mapping):
            self._report(
                _mark(other.start_mark), (*path, "<<"), "expected a mapping (or a list of them) to merge"
            )
            return
        for key, below in node.entries.items():
            if key not in result.entries:
                result.entries[key] = below
                result.keys[key] = node.keys[key]

    def _report(self, mark: Mark, path: Path, text: str) -> None:
        self.mistakes.append(Mistake(mark, path, text))
