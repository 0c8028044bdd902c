"""An account's own limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.config import effective_limits
from bridge.pace.limits import Window

DAY_S = 86400.0


def account(vendors, **written):
    return vendors["acme"].settings.model_validate(
        {"id": "a", "vendor": "acme", "app_key": "FAKEKEY1", **written}
    )


def windows(vendors, **written):
    limits = effective_limits(account(vendors, **written), vendors["acme"])
    return {limit.name: limit.windows for limit in limits}


def test_limits_are_the_vendors_where_the_account_has_none(vendors):
    settings = account(vendors)
    assert effective_limits(settings, vendors["acme"]) == tuple(vendors["acme"].limits(settings))


def test_override_takes_the_place_of_the_window_of_its_length(vendors):
    assert windows(vendors, limits={"calls": "100/24h"}) == {
        "calls": (Window(4, 1.0), Window(100, DAY_S)),
        "logins": (Window(10, 3600.0),),
    }


def test_override_of_another_length_is_added(vendors):
    assert windows(vendors, limits={"calls": "20/m"})["calls"] == (
        Window(4, 1.0),
        Window(200, DAY_S),
        Window(20, 60.0),
    )


def test_override_keeps_what_else_the_limit_says(vendors):
    (calls, _logins) = effective_limits(account(vendors, limits={"calls": "1/1s"}), vendors["acme"])
    assert (calls.reserve, calls.scope, calls.endpoint, calls.documented) == (1, "account", "all", True)


def test_unsafe_limits_may_be_above_the_vendors(read, vendors):
    configuration = read(
        "accounts: [{id: a, vendor: acme, app_key: FAKEKEY1, limits: {calls: 9/1s}, limits_unsafe: true}]"
    )
    (calls, _logins) = effective_limits(configuration.accounts[0], vendors["acme"])
    assert calls.windows == (Window(9, 1.0), Window(200, DAY_S))


@given(count=st.integers(1, 500), seconds=st.integers(1, 200_000))
def test_override_leaves_all_windows_of_other_lengths_alone(vendors, count, seconds):
    settings = account(vendors, limits={"calls": f"{count}/{seconds}s"})
    before = {limit.name: limit.windows for limit in vendors["acme"].limits(settings)}["calls"]
    after = {limit.name: limit.windows for limit in effective_limits(settings, vendors["acme"])}["calls"]
    assert Window(count, float(seconds)) in after
    kept = [window for window in before if window.seconds != seconds]
    assert all(window in after for window in kept)
    assert len({window.seconds for window in after}) == len(after)
