"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.quantity import duration_s, duration_text, size_bytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 300),
        ("1h", 3600),
        ("7d", 604800),
        ("2w", 1209600),
        ("1.5h", 5400),
        (" 5 m ", 300),
        ("0s", 0),
        ("5200w", 5200 * 604800),
    ],
)
def test_duration_is_seconds(text, seconds):
    assert duration_s(text) == seconds
    assert isinstance(duration_s(text), float)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "m",
        "5 minutes",
        "-5m",
        "5M",
        "1e3s",
        "5m30s",
        ".5s",
        "5201w",
        "9999999999s",
        300,
        5.0,
        None,
        True,
    ],
)
def test_what_is_no_duration_says_what_was_expected(text):
    with pytest.raises(ValueError, match="expected a duration"):
        duration_s(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (300.0, "5m"),
        (86400.0, "1d"),
        (604800.0, "1w"),
        (90.0, "90s"),
        (0.5, "500ms"),
        (0.0011, "1.1ms"),
        (1.5, "1.5s"),
        (100000.5, "100000.5s"),
        (1234567.25, "1234567.25s"),
        (0.0, "0ms"),
    ],
)
def test_duration_is_written_shortest_and_exact(seconds, text):
    assert duration_text(seconds) == text


@given(st.integers(0, 250_000), st.sampled_from(["", ".5", ".123"]), st.sampled_from(["ms", "s", "m", "h"]))
def test_duration_text_is_read_back_as_the_same_seconds(amount, fraction, unit):
    seconds = duration_s(f"{amount}{fraction}{unit}")
    assert duration_s(duration_text(seconds)) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (65536, 65536),
        (0, 0),
        ("65536", 65536),
        ("512KiB", 524288),
        ("1MiB", 1048576),
        ("2GiB", 2147483648),
        ("1.5 kB", 1500),
        ("1MB", 1000000),
        ("10B", 10),
    ],
)
def test_size_is_bytes(value, size):
    assert size_bytes(value) == size


@pytest.mark.parametrize("value", ["", "1mb", "1 TB", "-1", -1, "1e6", "MiB", True, None, 1.5, [1]])
def test_what_is_no_size_says_what_was_expected(value):
    with pytest.raises(ValueError, match="expected a size"):
        size_bytes(value)
