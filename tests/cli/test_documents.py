"""The documents that are made from the models are those of today's models. `make documents` makes them again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.bench import meterbridge

DOCS = Path(__file__).parents[2] / "docs"
AGAIN = "the models have changed: run `make documents`"


def test_the_asyncapi_document_is_todays() -> None:
    told = meterbridge("asyncapi")
    assert told.exit_code == 0, told.output
    assert (DOCS / "asyncapi.yaml").read_text(encoding="utf-8") == told.stdout, AGAIN


def test_the_schemas_are_todays(tmp_path: Path) -> None:
    assert meterbridge("schema", "--into", str(tmp_path)).exit_code == 0
    made = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "schemas").iterdir()}
    assert kept == made, AGAIN


@pytest.mark.parametrize("verb", [("asyncapi", "--json"), ("schema",)])
def test_what_is_made_again_is_the_same(verb: tuple[str, ...]) -> None:
    assert meterbridge(*verb).stdout == meterbridge(*verb).stdout
