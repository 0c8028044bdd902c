"""What counts as a secret by its name."""

from __future__ import annotations

import pytest

from bridge.domain.secrecy import is_secret, masked


@pytest.mark.parametrize(
    "name",
    ["password", "user_password", "pwd", "app_secret", "token", "access_token", "data_api_key", "app_key", "key",
     "Authorization", "client_secret", "apikey", "Cookie", "sign", "x-key"],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    ["state", "id", "charge_value", "keyword", "monkey", "design", "ctrl_data", "uid", "assigned", "keys"],
)
def test_names_of_other_things(name: str) -> None:
    assert not is_secret(name)


def test_only_values_of_secrets_are_masked_at_any_depth() -> None:
    given = {"a": [{"token": "x", "b": 1}], "password": None, "key": {"deep": 1}, "text": "token"}
    assert masked(given) == {"a": [{"token": "***", "b": 1}], "password": None, "key": "***", "text": "token"}
