"""The JSON Schema of the configuration file, made from the settings classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from bridge.config.model import Sections
from bridge.domain.quantity import duration_text
from bridge.vendorkit.spec import VendorSpec


class _AsWritten(GenerateJsonSchema):
    """Shows defaults as the file writes them: `1m`, not 60.0."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """The schema of a field with a default."""
        result = super().default_schema(schema)
        if result.get("default") is not None and _is_duration(schema["schema"]):
            default = schema["default"]
            many = isinstance(default, tuple)
            result["default"] = [duration_text(item) for item in default] if many else duration_text(default)
        return result


def _is_duration(inner: Any) -> bool:
    """Whether pydantic's schema is that of a Duration or of a tuple of them."""
    while isinstance(inner, dict):
        if (inner.get("serialization") or {}).get("function") is duration_text:
            return True
        inner = inner["items_schema"][0] if inner["type"] == "tuple" else inner.get("schema")
    return False


def schema(vendors: Mapping[str, VendorSpec]) -> dict[str, Any]:
    """JSON Schema (2020-12) of the configuration file; an account is one of its vendors' variants.

    It describes the file after `${NAME}` and `!file`, which may stand wherever text, a number or a truth may.
    """
    models: list[type[BaseModel]] = [Sections, *(spec.settings for spec in vendors.values())]
    names, definitions = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)], schema_generator=_AsWritten
    )
    defs = definitions["$defs"]
    top: dict[str, Any] = defs.pop(names[Sections, "validation"]["$ref"].rpartition("/")[2])
    variants = [
        {**names[spec.settings, "validation"], "properties": {"vendor": {"const": name}}}
        for name, spec in sorted(vendors.items())
    ]
    properties = {
        **top["properties"],
        "accounts": {"type": "array", "items": {"oneOf": variants}, "default": []},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "meterbridge configuration",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "$defs": defs,
    }
