"""`Retry-After`: seconds or a date, and what is neither."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest

from bridge.vendorkit.patience import MOST_S, retry_after_s

NOW = datetime(2024, 2, 29, 23, 59, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"retry-after": " 5 "}, 5.0),
        ({"Retry-After": "Fri, 01 Mar 2024 00:00:30 GMT"}, 90.0),
        ({"Retry-After": "Fri, 01 Mar 2024 00:00:30 GMT", "Date": "Fri, 01 Mar 2024 00:00:00 GMT"}, 30.0),
        ({"Retry-After": "Friday, 01-Mar-24 00:00:30 GMT"}, 90.0),
        ({"Retry-After": "999999999"}, MOST_S),
        ({"Retry-After": "Sat, 01 Mar 2025 00:00:00 GMT"}, MOST_S),
        ({"Retry-After": "0"}, None),
        ({"Retry-After": "Thu, 29 Feb 2024 23:58:00 GMT"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "1e9"}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
    ],
)
def test_the_wait_is_read_as_the_standard_says(headers: dict[str, str], wait_s: float | None) -> None:
    assert retry_after_s(httpx.Headers(headers), NOW) == wait_s
