"""JSON text to values and back, every digit kept."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.text import canonical, dumps, flag, loads, loads_sent, number, plain, restored, word_of

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.decimals(allow_nan=False, allow_infinity=False, places=6)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"0.1", Decimal("0.1")),
        (b"346.90", Decimal("346.90")),
        (b"1e3", Decimal("1e3")),
        (b"-0.0", Decimal("-0.0")),
        (b"18446744073709551616", 18446744073709551616),
        (b"1" * 40, int("1" * 40)),
        (b"1e400", Decimal("1e400")),
        (b'"\\u00e9"', "é"),
        (b" [1, true, null] ", [1, True, None]),
        ('{"a": 0.30}', {"a": Decimal("0.30")}),
    ],
)
def test_json_text_becomes_values_without_loss(raw, value):
    assert loads(raw) == value
    assert type(loads(raw)) is type(value)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"   ",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"[1,]",
        b'{"a": 1,}',
        b"{'a': 1}",
        b"// no\n1",
        b"01",
        b".5",
        b"1.",
        b"+1",
        b"1 2",
        b'"\xff"',
        b"\xff\xfe",
        b'"\\ud800"',
        b"1" * 5000,
        b"1e99999999999999999999",
        b"[" * 5000 + b"]" * 5000,
        b"[" * 5000,
    ],
)
def test_what_is_no_json_is_a_value_error_with_a_reason(raw):
    with pytest.raises(ValueError, match=r"\S"):
        loads(raw)


@pytest.mark.parametrize(
    ("opening", "closing", "each"), [("[", "]", 1), ('{"a":', "}", 1), ('[{"[{":', "}]", 2)]
)
def test_nesting_up_to_a_hundred_levels_is_taken(opening, closing, each):
    fits = opening * (100 // each) + "1" + closing * (100 // each)
    assert dumps(loads(fits)).decode() == fits
    for too_deep in (f"[{fits}]", f"[{fits}]".encode(), f'[1, {{"a": {fits}}}]'):
        with pytest.raises(ValueError, match="nested too deeply"):
            loads(too_deep)


def test_many_brackets_side_by_side_are_no_nesting():
    wide = [[], {}] * 500 + ["[[[[{{{{"] * 500
    assert loads(dumps(wide)) == wide


def test_our_own_documents_come_back_even_if_they_wrap_the_deepest_input():
    wrapped = {"result": {"extra": loads("[" * 100 + "]" * 100)}}
    assert restored(dumps(wrapped)) == wrapped
    with pytest.raises(ValueError, match="deeply"):
        restored(b"[" * 100_000)


@given(JSON_VALUES)
def test_values_survive_the_way_out_and_in(value):
    assert loads(dumps(value)) == value
    assert restored(dumps(value)) == value
    assert json.loads(dumps(value), parse_float=Decimal) == value


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), JSON_VALUES, max_size=5))
def test_canonical_text_does_not_depend_on_the_order_of_keys(value):
    turned = dict(reversed(value.items()))
    assert canonical(turned) == canonical(value)
    assert loads(canonical(value)) == value


def test_decimals_leave_as_numbers_with_the_same_digits():
    assert (
        dumps({"v": Decimal("233.41"), "sum": Decimal("0.1") + Decimal("0.2")}) == b'{"v":233.41,"sum":0.3}'
    )


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        ("346.90", Decimal("346.9")),
        (" 12 ", 12),
        ("+5", 5),
        ("-0", 0),
        ("-0.00", 0),
        ("1e5", 100000),
        ("1E-5", Decimal("0.00001")),
        (".5", Decimal("0.5")),
        ("5.", 5),
        (Decimal("1E+2"), 100),
        (Decimal("15.000"), 15),
        (7, 7),
        (10**30, 10**30),
        (Decimal("1E+30"), 10**30),
        ("1e-30", Decimal("1e-30")),
        (10**31, None),
        (-(10**31), None),
        ("1e31", None),
        ("1e-31", None),
        ("1e9999", None),
        (Decimal("1e400"), None),
        ("1e99999", None),
        ("", None),
        ("  ", None),
        ("-", None),
        (".", None),
        ("e5", None),
        ("1_000", None),
        ("1,5", None),
        ("0x1F", None),
        ("12 V", None),
        ("NaN", None),
        ("inf", None),
        (Decimal("NaN"), None),
        (Decimal("sNaN"), None),
        (Decimal("-Infinity"), None),
        (None, None),
        (True, None),
        (False, None),
        (1.5, None),
        ([1], None),
        ({}, None),
    ],
)
def test_vendor_number_is_exact_or_none(given_value, expected):
    found = number(given_value)
    assert found == expected
    assert type(found) is type(expected)


def test_number_keeps_more_digits_than_the_default_context_of_decimal():
    digits = "0." + "1234567890" * 5 + "1"
    assert number(digits) == Decimal(digits)
    assert dumps(number(digits + "000")).decode() == digits
    assert number("1234567890123456789012345678.5") == Decimal("1234567890123456789012345678.5")


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=9))
def test_plain_changes_the_writing_never_the_value(value):
    found = plain(value)
    assert found == value
    assert "E" not in str(found) or abs(found) < Decimal("1e-6")
    assert not str(found).endswith((".0", "."))


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**9, places=4))
def test_number_as_text_and_as_number_are_the_same(value):
    assert number(str(value)) == number(value) == value
    assert loads(dumps({"v": number(str(value))}))["v"] == value


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        (True, True),
        (False, False),
        (1, True),
        (0, False),
        ("1", True),
        ("0", False),
        ("true", True),
        (" TRUE ", True),
        ("False", False),
        (2, None),
        (-1, None),
        ("2", None),
        ("yes", None),
        ("on", None),
        ("", None),
        (None, None),
        (Decimal("1.0"), None),
        ([], None),
    ],
)
def test_vendor_truth_is_true_false_or_none(given_value, expected):
    assert flag(given_value) is expected


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("bit1", "bit1"),
        ("E-21", "e_21"),
        (3, "3"),
        ("  A//B  ", "a_b"),
        ("过流", ""),
        ("__x__", "x"),
        ("", ""),
    ],
)
def test_vendor_code_becomes_a_word(code, word):
    assert word_of(code) == word


@given(st.text())
def test_word_of_anything_is_snake_case(text):
    word = word_of(text)
    assert set(word) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")
    assert not word.startswith("_")
    assert not word.endswith("_")
    assert "__" not in word


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (rb'{"a": "cut \ud83d"}', {"a": "cut \ufffd"}),
        (
            rb'["\uDE00", "\ud83d\ude00", "\ud83dx", "\ud83d\ud83d\ude00"]',
            ["\ufffd", "😀", "\ufffdx", "\ufffd😀"],
        ),
        (rb'{"\ud83d": "\\ud83d \\\ud83d"}', {"\ufffd": "\\ud83d \\\ufffd"}),
        ('["磁\\ud800"]'.encode(), ["磁\ufffd"]),
        ('["磁\\ud800"]', ["磁\ufffd"]),
    ],
)
def test_half_a_character_of_a_vendor_costs_only_itself(raw, value):
    assert loads_sent(raw) == value
    with pytest.raises(ValueError, match=r"\w"):
        loads(raw)


@pytest.mark.parametrize(
    "raw", [b"", b"{a", rb'"\ud83d', b'"\xff' + rb'\ud83d"', b"NaN", "[" * 200 + "]" * 200]
)
def test_what_is_no_json_is_none_from_a_vendor_either(raw):
    with pytest.raises(ValueError, match=r"\w"):
        loads_sent(raw)


@given(JSON_VALUES)
def test_a_vendors_json_is_read_as_any_other(value):
    assert loads_sent(dumps(value)) == loads(dumps(value))
