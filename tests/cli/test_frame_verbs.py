"""`meterbridge frame`."""

from __future__ import annotations

import json

from tests.cli.bench import meterbridge

LOADS = ("overload_kw=13", "leakage_current_ma=30", "overheat_c=80")


def test_encode_prints_a_frame_that_decode_explains() -> None:
    frame = meterbridge("frame", "encode", *LOADS).stdout.strip()
    assert frame.startswith("55AA0006")
    told = meterbridge("frame", "decode", frame).stdout
    assert "overload: alarm and trip above 13 kW" in told
    assert "switched off" not in told


def test_decode_takes_blanks_and_several_frames() -> None:
    frame = "55 AA 00 06 00 05 10 01 00 01 01 1D"
    told = meterbridge("frame", "decode", *frame.split(), frame.lower()).stdout
    assert told.count("data point: switch") == 2
    parts = json.loads(meterbridge("frame", "decode", "--json", frame).stdout)
    assert parts[0]["frame"] == frame.replace(" ", "")


def test_no_trip_warns_that_the_protection_is_off() -> None:
    result = meterbridge("frame", "encode", *LOADS, "--no-trip", "overheat_c")
    assert result.exit_code == 0
    assert "overheat" in result.stderr
    assert "off" in result.stderr
    assert "protection switched off: overheat" in meterbridge("frame", "decode", result.stdout.strip()).stdout


def test_a_low_balance_that_only_tells_is_no_protection_switched_off() -> None:
    words = ("overcurrent_a=40", "overvoltage_v=275", "undervoltage_v=160", "low_balance_kwh=10")
    result = meterbridge("frame", "encode", *words, "--no-trip", "low_balance_kwh")
    assert (result.exit_code, result.stderr) == (0, "")


def test_half_a_group_names_the_groups() -> None:
    result = meterbridge("frame", "encode", "overload_kw=13")
    assert result.exit_code == 1
    assert "leakage_current_ma, overheat_c" in result.stderr


def test_what_is_no_threshold_is_a_usage_error() -> None:
    for words in (
        ("overload_kw=many", *LOADS[1:]),
        ("overload_kw=1000", *LOADS[1:]),
        ("height=3", *LOADS[1:]),
        (*LOADS, LOADS[0]),
        (*LOADS, "--no-trip", "overcurrent_a"),
    ):
        assert meterbridge("frame", "encode", *words).exit_code == 2, words


def test_a_wrong_checksum_is_named() -> None:
    result = meterbridge("frame", "decode", "55AA000600051001000101FF")
    assert result.exit_code == 1
    assert "wrong checksum: expected 1D, found FF" in result.stderr
