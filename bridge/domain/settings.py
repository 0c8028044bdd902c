"""The base of every settings class, and the kinds of text that several of them take.

Settings are made from text: the loader hands over every YAML scalar as it was written (`0123` stays `0123`),
and the type of the field decides what it means. So a field's validators must accept text.
"""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo, model_validator


class Settings(BaseModel):
    """Base of all settings: frozen, nothing beyond the named keys; null counts as not written."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: part for key, part in value.items() if part is not None or key not in cls.model_fields}


def _network(text: str) -> str:
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError("expected an address or a network such as 203.0.113.0/24") from None
    return text


Network = Annotated[str, AfterValidator(_network)]
"""A settings field that is an IP address or a network, kept as text."""

FOLDER = "folder"
"""The key of the validation context under which the loader gives the configuration file's folder."""


def in_folder(path: Path, info: ValidationInfo) -> Path:
    """A relative path as one below the configuration file's folder; unchanged where no folder is given."""
    folder = (info.context or {}).get(FOLDER)
    return path if folder is None else Path(folder) / path


def _named(value: Any) -> Any:
    if value == "":
        raise ValueError("expected the name of a file")
    return value


LocalPath = Annotated[Path, BeforeValidator(_named), AfterValidator(in_folder)]
"""A settings field that names a file; relative to the folder of the configuration file."""
