"""RFC 3339, Unix seconds and milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.times import from_unix, from_unix_ms, parse_rfc3339, rfc3339, unix_ms

INSTANTS = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2023, 11, 21, 6, 30, 22, tzinfo=UTC), "2023-11-21T06:30:22Z"),
        (datetime(2023, 11, 21, 6, 31, 1, 250_000, tzinfo=UTC), "2023-11-21T06:31:01.250Z"),
        (datetime(2023, 11, 21, 6, 31, 1, 999_999, tzinfo=UTC), "2023-11-21T06:31:01.999Z"),
        (datetime(2023, 11, 21, 6, 31, 1, 999, tzinfo=UTC), "2023-11-21T06:31:01Z"),
        (datetime(2023, 11, 21, 14, 30, tzinfo=timezone(timedelta(hours=8))), "2023-11-21T06:30:00Z"),
        (datetime(33, 1, 1, tzinfo=UTC), "0033-01-01T00:00:00Z"),
    ],
)
def test_instants_are_written_as_utc_with_z(at, text):
    assert rfc3339(at) == text


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2023-11-21T06:30:22Z", datetime(2023, 11, 21, 6, 30, 22, tzinfo=UTC)),
        ("2023-11-21t06:30:22z", datetime(2023, 11, 21, 6, 30, 22, tzinfo=UTC)),
        ("2023-11-21 06:30:22Z", datetime(2023, 11, 21, 6, 30, 22, tzinfo=UTC)),
        ("2023-11-21T14:30:22+08:00", datetime(2023, 11, 21, 6, 30, 22, tzinfo=UTC)),
        ("2023-11-21T06:30:22-00:00", datetime(2023, 11, 21, 6, 30, 22, tzinfo=UTC)),
        ("2023-11-20T22:45:22-07:45", datetime(2023, 11, 21, 6, 30, 22, tzinfo=UTC)),
        ("2023-11-21T06:30:22.5Z", datetime(2023, 11, 21, 6, 30, 22, 500_000, tzinfo=UTC)),
        ("2023-11-21T06:30:22.1234567899Z", datetime(2023, 11, 21, 6, 30, 22, 123_456, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2017-01-01T00:59:60+01:00", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_times_with_offset_are_read_as_utc(text, at):
    assert parse_rfc3339(text) == at
    assert parse_rfc3339(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        None,
        1700000000,
        "",
        "now",
        "2023-11-21",
        "2023-11-21T06:30:22",
        "2023-11-21T06:30Z",
        "2023-11-21T06:30:22+0800",
        "2023-11-21T06:30:22+24:00",
        "2023-11-21T06:30:22+08:60",
        "2023-11-21T06:30:61Z",
        "2023-11-21T06:30:99Z",
        "2023-11-21T06:60:00Z",
        "2023-11-21T24:00:00Z",
        "2023-02-29T00:00:00Z",
        "2023-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "2023-11-21T06:30:22.Z",
        "2023-11-21T06:30:22Z ",
        "2023-11-21T06:30:22Z\n",
        "２０２３-11-21T06:30:22Z",
    ],
)
def test_what_is_no_time_says_what_was_expected(text):
    with pytest.raises(ValueError, match="RFC 3339"):
        parse_rfc3339(text)


@given(INSTANTS)
def test_written_time_is_read_back_to_the_millisecond(at):
    assert parse_rfc3339(rfc3339(at)) == at.replace(microsecond=at.microsecond // 1000 * 1000)


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31)), OFFSETS)
def test_offset_moves_the_writing_not_the_instant(local, zone):
    at = local.replace(tzinfo=zone, microsecond=0)
    text = at.replace(tzinfo=None).isoformat() + at.strftime("%z")[:3] + ":" + at.strftime("%z")[3:5]
    assert parse_rfc3339(text) == at


@given(st.integers(0, 253402300799999))
def test_milliseconds_survive_the_way_through_a_datetime(ms):
    assert unix_ms(from_unix_ms(ms)) == ms


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))
def test_milliseconds_of_an_instant_are_whole_and_never_later(at):
    assert timedelta(0) <= at - from_unix_ms(unix_ms(at)) < timedelta(milliseconds=1)
    assert rfc3339(from_unix_ms(unix_ms(at))) == rfc3339(at)


def test_unix_seconds_become_utc():
    assert from_unix(0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert from_unix(1725825684) == datetime(2024, 9, 8, 20, 1, 24, tzinfo=UTC)
    assert from_unix(1.5) == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)


@pytest.mark.parametrize("seconds", [-1, -0.5, 1e12, 1e300, float("inf"), float("-inf"), float("nan")])
def test_what_is_no_unix_time_is_a_value_error(seconds):
    with pytest.raises(ValueError, match=r"\S"):
        from_unix(seconds)
