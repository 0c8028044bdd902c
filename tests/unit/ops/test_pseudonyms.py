"""Tokens in place of what must not be shown."""

from __future__ import annotations

from bridge.ops.pseudonyms import Pseudonyms

KEY = ("FAKE-secret-of-the-installation",)


def test_value_is_the_same_token_wherever_it_stands() -> None:
    names = Pseudonyms(KEY)
    names.learn("device", ["W71E0000001", None, ""])
    token = names.token("device", "W71E0000001")
    document = {
        "W71E0000001": ["a W71E0000001 b", {"scope": "device:W71E0000001"}],
        "n": 5,
        "none": None,
        "yes": True,
    }
    assert names.clean(document) == {
        token: [f"a {token} b", {"scope": f"device:{token}"}],
        "n": 5,
        "none": None,
        "yes": True,
    }


def test_longer_values_win_and_short_ones_are_replaced_only_alone() -> None:
    names = Pseudonyms(KEY)
    names.learn("device", ["1234", "12345678", "on"])
    assert (
        names.clean("12345678 and 1234")
        == f"{names.token('device', '12345678')} and {names.token('device', '1234')}"
    )
    assert names.clean(["on", "monday"]) == [names.token("device", "on"), "monday"]


def test_tokens_depend_on_the_installation_and_on_the_kind() -> None:
    same, other, random = Pseudonyms(KEY), Pseudonyms(["FAKE-another"]), Pseudonyms()
    token = Pseudonyms(KEY).token("device", "D1")
    assert same.token("device", "D1") == token
    assert (
        len({token, other.token("device", "D1"), random.token("device", "D1"), same.token("user", "D1")}) == 4
    )
