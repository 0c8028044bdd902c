"""What an account allows and exposes."""

from __future__ import annotations

import pytest

from bridge.domain.account import AccountPolicy


@pytest.mark.parametrize(
    ("allow", "command", "allowed"),
    [
        (("*",), "breaker", True),
        (("set_*", "read"), "set_price", True),
        (("set_*", "read"), "read", True),
        (("set_*", "read"), "breaker", False),
        ((), "read", False),
        (("Read",), "read", False),
    ],
)
def test_allow_list_takes_names_and_patterns(allow, command, allowed):
    assert AccountPolicy("shop", "wmj", allow=allow).allows(command) is allowed


@pytest.mark.parametrize(
    ("include", "exclude", "device", "exposed"),
    [
        ((), (), "SN1", True),
        (("SN1",), (), "SN1", True),
        (("SN1",), (), "SN2", False),
        (("SN*",), ("SN2",), "SN2", False),
        ((), ("SN*",), "SN1", False),
        (("sn1",), (), "SN1", False),
    ],
)
def test_exclusion_wins_over_inclusion(include, exclude, device, exposed):
    assert AccountPolicy("shop", "wmj", include=include, exclude=exclude).exposes(device) is exposed
