"""A configuration file, read and checked: every mistake at once, or a Configuration without any."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from bridge.config import yamltree
from bridge.config.limits import LimitMistake, limit_mistakes, sure_limit_mistakes
from bridge.config.mistakes import between_keys, mistakes_of, rest_of, shown, suggestion
from bridge.config.model import Configuration, Sections
from bridge.config.references import References
from bridge.config.yamltree import Mark, Mistake, Node, Scalar
from bridge.domain.errors import ConfigError
from bridge.domain.settings import FOLDER
from bridge.vendorkit.settings import AccountSettings
from bridge.vendorkit.spec import VendorSpec

MAX_FILE_BYTES = 1024 * 1024

Model = TypeVar("Model", bound=BaseModel)


def load(path: Path, vendors: Mapping[str, VendorSpec], env: Mapping[str, str]) -> Configuration:
    """The configuration in the YAML file `path`, with `env` for its `${NAME}`.

    Raises ConfigError with one line for each mistake, in the order of the file: `config.yaml:12:7:
    accounts[1].poll: expected a duration … (found "5")`. No line holds the value of a secret.
    """
    root, mistakes = yamltree.parse(_text(path), References(env, path.absolute().parent).resolve)
    if root is None and not mistakes:
        mistakes.append(
            Mistake(Mark(1, 1), (), "expected a mapping with accounts, mqtt and so on; the file is empty")
        )
    configuration = None
    if root is not None:
        reading = _Reading(path, root, vendors, mistakes)
        configuration = reading.configuration()
    if configuration is None or mistakes:
        raise ConfigError([_line(path, mistake) for mistake in _in_order(mistakes)])
    return configuration


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{path}: expected a readable file: {error.strerror}"]) from None
    except ValueError:
        raise ConfigError([f"{json.dumps(str(path))}: expected the name of a file"]) from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError([f"{path}: expected a file of at most 1 MiB"])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1) + 1
        raise ConfigError([f"{path}:{line}:{column}: expected UTF-8 text"]) from None


def _in_order(mistakes: list[Mistake]) -> list[Mistake]:
    return sorted(dict.fromkeys(mistakes), key=lambda mistake: mistake.mark)


def _line(path: Path, mistake: Mistake) -> str:
    where = yamltree.path_text(mistake.path)
    return f"{path}:{mistake.mark.line}:{mistake.mark.column}: {where}{': ' if where else ''}{mistake.text}"


@dataclass(slots=True)
class _Reading:
    """One pass over the tree, which adds to `mistakes` as it goes."""

    path: Path
    root: Node
    vendors: Mapping[str, VendorSpec]
    mistakes: list[Mistake]
    accounts: list[AccountSettings] = field(default_factory=list)
    lines_of_ids: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def _context(self) -> dict[str, object]:
        return {FOLDER: self.path.absolute().parent}

    def configuration(self) -> Configuration | None:
        """The configuration as far as it can be made; it is good only if no mistake was added."""
        sections = self._validated(Sections, self.root)
        entries = yamltree.child(self.root, "accounts")
        if isinstance(entries, yamltree.Sequence):
            for index, node in enumerate(entries.items):
                if isinstance(node, yamltree.Mapping):
                    self._account(index, node)
        if sections is None:
            return None
        marks = {yamltree.path_text(path): node.mark for path, node in yamltree.walk(self.root)}
        return Configuration(
            mqtt=sections.mqtt,
            http=sections.http,
            state=sections.state,
            commands=sections.commands,
            audit=sections.audit,
            log=sections.log,
            accounts=tuple(self.accounts),
            source=self.path,
            marks=marks,
        )

    def _account(self, index: int, node: yamltree.Mapping) -> None:
        above: yamltree.Path = ("accounts", index)
        self._check_id(index, node)
        vendor = node.entries.get("vendor")
        spec = self.vendors.get(vendor.text or "") if isinstance(vendor, Scalar) else None
        if spec is None:
            self._unknown_vendor(node, vendor, above)
            return
        settings = self._validated(spec.settings, node, above)
        if settings is not None:
            self.accounts.append(settings)
            mistakes = limit_mistakes(settings, spec)
        else:
            value = {key: yamltree.value_of(part) for key, part in node.entries.items()}
            mistakes = sure_limit_mistakes(value, spec, self._context)
        self._tell_limits(mistakes, node.entries.get("limits"), (*above, "limits"))

    def _tell_limits(self, mistakes: list[LimitMistake], node: Node | None, above: yamltree.Path) -> None:
        for name, text, known in mistakes:
            if isinstance(node, yamltree.Mapping) and isinstance(rate := node.entries[name], Scalar):
                mark = rate.mark if known else node.keys[name]
                found = shown(rate) if known else ""
                self.mistakes.append(Mistake(mark, (*above, name), text + found))

    def _unknown_vendor(self, node: yamltree.Mapping, vendor: Node | None, above: yamltree.Path) -> None:
        """Reports the vendor, and what is wrong with the keys that every account has."""
        if isinstance(vendor, Scalar) and vendor.text is not None and not vendor.broken:
            known = sorted(self.vendors)
            near = "" if vendor.secret else suggestion(vendor.text, known)
            hint = f"; {near}" if near.startswith("did") else ""
            text = f"expected one of the vendors {', '.join(known)}{shown(vendor)}{hint}"
            self.mistakes.append(Mistake(vendor.mark, (*above, "vendor"), text))
        common = {key: part for key, part in node.entries.items() if key in AccountSettings.model_fields}
        self._validated(AccountSettings, yamltree.Mapping(node.mark, common, node.keys), above)

    def _check_id(self, index: int, node: yamltree.Mapping) -> None:
        account = node.entries.get("id")
        if not isinstance(account, Scalar) or not account.text:
            return
        first, line = self.lines_of_ids.setdefault(account.text, (index, account.mark.line))
        if first != index:
            text = f"expected an id of its own; accounts[{first}] has the same in line {line}"
            self.mistakes.append(Mistake(account.mark, ("accounts", index, "id"), text))

    def _validated(self, model: type[Model], node: Node, above: yamltree.Path = ()) -> Model | None:
        context = self._context
        try:
            return model.model_validate(yamltree.value_of(node), context=context)
        except ValidationError as error:
            self.mistakes.extend(mistakes_of(error, model, node, above))
            rest, wrong = rest_of(error, model, node)
        try:  # what lies between keys is looked at only where each of them is right
            model.model_validate(rest, context=context)
        except ValidationError as error:
            self.mistakes.extend(between_keys(error, model, node, above, wrong))
        return None
