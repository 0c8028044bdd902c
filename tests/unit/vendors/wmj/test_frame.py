"""Frames of the page: every printed one (10.3), the reference ones (10.4), and the vectors of V12."""

from __future__ import annotations

import pytest

from bridge.vendors.wmj import frame
from bridge.vendors.wmj.frame import FrameError, Match
from bridge.vendors.wmj.points import (
    BITMAP,
    BOOL,
    FAULT,
    FROM_CONTROLLER,
    LOAD_ALARMS,
    REPORT,
    SET,
    SWITCH,
    TO_CONTROLLER,
    VALUE,
    VOLTAGE_ALARMS,
    DataPoint,
    Frame,
    Record,
    fault_names,
)

F1 = "55AA00060014120000100101003F030100FA040100960800001E32"
F1_RIGHT = "55AA00060014120000100101003F030100FA040100960800001E3B"
F1_REPORT = "55AA03070014120000100101003F030100FA040100960800001E3F"
F2 = "55AA030700101100000C0300000D0400001E05000050BD"
F3 = "55AA00060014120000100100003F030000FA040000960800001E38"
F4 = "55AA03070014120000100100003F030000FA040000960800001E3C"
F5 = "55AA000600101100000C0301000D0401001E05010050BC"
F6 = "55AA030700101100000C0301000D0401001E05010050C0"
F7 = "55AA000600101100000C0300000D0400001E05000050B9"
F8 = "55AA030700101100000C030000060400001E05000050B6"
F9 = "55AA03070005100100010020"
F10 = "55AA03070005100100010121"


def of(version: int, command: int, point: int, *records: tuple[int, int, int]) -> Frame:
    return Frame(version, command, (frame.alarm_point(point, [Record(*row) for row in records]),))


def switch(version: int, command: int, state: int) -> Frame:
    return Frame(version, command, (DataPoint(SWITCH, BOOL, bytes((state,))),))


V_TRIP = ((1, 1, 63), (3, 1, 250), (4, 1, 150), (8, 0, 30))
V_OFF = ((1, 0, 63), (3, 0, 250), (4, 0, 150), (8, 0, 30))
L_TRIP = ((3, 1, 13), (4, 1, 30), (5, 1, 80))
L_OFF = ((3, 0, 13), (4, 0, 30), (5, 0, 80))

FRAMES = [
    (F1_RIGHT, of(TO_CONTROLLER, SET, VOLTAGE_ALARMS, *V_TRIP)),
    (F1_REPORT, of(FROM_CONTROLLER, REPORT, VOLTAGE_ALARMS, *V_TRIP)),
    (F2, of(FROM_CONTROLLER, REPORT, LOAD_ALARMS, *L_OFF)),
    (F3, of(TO_CONTROLLER, SET, VOLTAGE_ALARMS, *V_OFF)),
    (F4, of(FROM_CONTROLLER, REPORT, VOLTAGE_ALARMS, *V_OFF)),
    (F5, of(TO_CONTROLLER, SET, LOAD_ALARMS, *L_TRIP)),
    (F6, of(FROM_CONTROLLER, REPORT, LOAD_ALARMS, *L_TRIP)),
    (F7, of(TO_CONTROLLER, SET, LOAD_ALARMS, *L_OFF)),
    (F8, of(FROM_CONTROLLER, REPORT, LOAD_ALARMS, (3, 0, 6), (4, 0, 30), (5, 0, 80))),
    (F9, switch(FROM_CONTROLLER, REPORT, 0)),
    (F10, switch(FROM_CONTROLLER, REPORT, 1)),
    (
        "55AA00060014120000100101002803010113040100A00800000A34",
        of(TO_CONTROLLER, SET, VOLTAGE_ALARMS, (1, 1, 40), (3, 1, 275), (4, 1, 160), (8, 0, 10)),
    ),
    (
        "55AA000600101100000C030100080401001E05010050B7",
        of(TO_CONTROLLER, SET, LOAD_ALARMS, (3, 1, 8), (4, 1, 30), (5, 1, 80)),
    ),
    ("55AA0006000510010001011D", switch(TO_CONTROLLER, SET, 1)),
    ("55AA0006000510010001001C", switch(TO_CONTROLLER, SET, 0)),
    (
        "55AA0307000809050004000008002B",
        Frame(FROM_CONTROLLER, REPORT, (DataPoint(FAULT, BITMAP, bytes.fromhex("00000800")),)),
    ),
]


@pytest.mark.parametrize(("text", "value"), FRAMES)
def test_every_frame_of_the_page_is_decoded_and_encoded(text: str, value: Frame) -> None:
    assert frame.decode(text) == (value,)
    assert frame.encode(value) == text


def test_the_printed_f1_has_a_wrong_checksum() -> None:
    with pytest.raises(FrameError, match="expected 3B, found 32"):
        frame.decode(F1)
    assert frame.with_checksum(F1) == F1_RIGHT
    assert frame.with_checksum(F1[:-2]) == F1_RIGHT


def test_lower_case_and_blanks_are_taken() -> None:
    assert frame.decode("55aa 0307 0005\n10010001 0020") == frame.decode(F9)
    assert frame.switch_of(frame.decode("55aa03070005100100010020")) is False
    assert frame.switch_of(frame.decode(F10)) is True
    assert frame.switch_of(frame.decode(F6)) is None


def test_frames_in_a_row_are_decoded_one_after_another() -> None:
    assert frame.decode(F9 + F10) == (*frame.decode(F9), *frame.decode(F10))
    assert frame.switch_of(frame.decode(F9 + F10)) is True
    with pytest.raises(FrameError, match="one frame, found 2"):
        frame.decode_one(F9 + F10)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("55AA0307000510010001", "too short"),
        ("55AA03", "too short"),
        ("", "expected 55AA"),
        ("56AA03070005100100010020", "wrong header"),
        (F9 + "00", "wrong header"),
        ("55AA0307000510010001002", "even number"),
        ("55AAXX070005100100010020", "even number"),
        ("55AA0307000006", "wrong checksum: expected 09"),
        ("55AA0307000009", "at least one data point"),
        ("55AA03070006100100010000" + "21", "exactly fill"),
        ("55AA030700071100000301000026", "wrong checksum"),
        ("55AA03070007110000030100" + "0025", "records of 4 bytes"),
    ],
)
def test_what_is_no_frame_is_refused_with_what_was_expected(text: str, reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        frame.decode(text)


def test_the_checksum_of_a_report_is_that_of_the_set_frame_plus_4() -> None:
    for request, report in ((F1_RIGHT, F1_REPORT), (F3, F4), (F5, F6)):
        assert int(report[-2:], 16) == (int(request[-2:], 16) + 4) % 256


def test_fixing_a_checksum_does_not_fix_a_length() -> None:
    with pytest.raises(FrameError, match="wrong length"):
        frame.with_checksum(F9 + "0000")
    with pytest.raises(FrameError, match="wrong length"):
        frame.with_checksum(F9[:-4])


@pytest.mark.parametrize(
    "value",
    [
        Frame(256, SET, (DataPoint(SWITCH, BOOL, b"\x00"),)),
        Frame(0, SET, (DataPoint(SWITCH, BOOL, bytes(70000)),)),
        Frame(0, SET, (DataPoint(SWITCH, 300, b""),)),
    ],
)
def test_what_does_not_fit_a_frame_is_not_encoded(value: Frame) -> None:
    with pytest.raises(FrameError, match="too large"):
        frame.encode(value)


def test_a_threshold_beyond_16_bits_is_not_encoded() -> None:
    with pytest.raises(FrameError, match="65535"):
        frame.alarm_point(LOAD_ALARMS, [Record(3, 1, 65536)])


def test_groups_of_alarms_become_frames_in_the_vendors_order() -> None:
    load = {"overheat_c": (80, True), "leakage_current_ma": (30, True), "overload_kw": (13, True)}
    voltage = {
        "low_balance_kwh": (30, False),
        "undervoltage_v": (150, True),
        "overcurrent_a": (63, True),
        "overvoltage_v": (250, True),
    }
    assert frame.encode(frame.alarm_frame(load)) == F5
    assert frame.encode(frame.alarm_frame(voltage)) == F1_RIGHT
    with pytest.raises(FrameError, match="one group"):
        frame.alarm_frame({"overheat_c": (80, True)})


def test_frames_tell_alarms_under_the_names_of_the_parameters() -> None:
    assert frame.alarm_settings(frame.decode(F8)) == {
        "overload_kw": {"threshold": 6, "trip": False},
        "leakage_current_ma": {"threshold": 30, "trip": False},
        "overheat_c": {"threshold": 80, "trip": False},
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (F1_RIGHT, []),
        (F3, ["overcurrent", "overvoltage", "undervoltage"]),
        (F7, ["overload", "leakage_current", "overheat"]),
        (F10, []),
        (frame.encode(of(0, SET, LOAD_ALARMS, (0x0A, 0, 1), (2, 0, 0))), ["code_0A", "surge"]),
    ],
)
def test_a_frame_tells_which_protections_it_switches_off(text: str, names: list[str]) -> None:
    assert frame.disabled(frame.decode_one(text)) == names


@pytest.mark.parametrize(
    ("request_text", "answer", "match"),
    [
        (F1_RIGHT, F1_REPORT, Match.EQUAL),
        (F3, F4, Match.EQUAL),
        (F5, F6, Match.EQUAL),
        (F7, F8, Match.DIFFERENT),
        (F1_RIGHT, F2, Match.OTHER),
        (F5, F5, Match.OTHER),
        (F5, F9, Match.OTHER),
        (F5, F9 + F6, Match.EQUAL),
        (F10, F10, Match.OTHER),
    ],
)
def test_an_answer_is_compared_with_the_request(request_text: str, answer: str, match: Match) -> None:
    assert frame.compare(frame.decode_one(request_text), frame.decode(answer)) is match


def test_a_report_of_more_records_than_asked_for_is_no_difference() -> None:
    report = of(FROM_CONTROLLER, REPORT, LOAD_ALARMS, (1, 1, 0), *L_TRIP)
    assert frame.compare(frame.decode_one(F5), [report]) is Match.EQUAL
    partial = of(FROM_CONTROLLER, REPORT, LOAD_ALARMS, *L_TRIP[:2])
    assert frame.compare(frame.decode_one(F5), [partial]) is Match.DIFFERENT


def test_an_explanation_names_every_byte() -> None:
    (told,) = frame.explain(F1_RIGHT)
    assert "".join(part["bytes"] for part in told["parts"]) == F1_RIGHT
    meanings = [part["meaning"] for part in told["parts"]]
    assert meanings[0] == "header"
    assert "version: towards the breaker controller" in meanings
    assert "command: set data point" in meanings
    assert "data point: alarm_set_2" in meanings
    assert "overcurrent: alarm and trip above 63 A" in meanings
    assert "undervoltage: alarm and trip below 150 V" in meanings
    assert "low_balance: alarm only, no trip below 30 kWh" in meanings
    assert meanings[-1] == "checksum"
    assert told["data_points"][0]["records"][0] == {
        "code": "01",
        "name": "overcurrent",
        "trip": True,
        "threshold": 63,
        "unit": "A",
    }


def test_unknown_codes_are_kept_in_an_explanation() -> None:
    strange = Frame(7, 9, (DataPoint(0x65, 9, b"\x01"), DataPoint(LOAD_ALARMS, 0, bytes((0x0F, 2, 0, 1)))))
    (told,) = frame.explain(frame.encode(strange))
    assert [point["name"] for point in told["data_points"]] == ["code_65", "alarm_set_1"]
    assert told["data_points"][0]["type"] == "code_09"
    assert told["data_points"][1]["records"][0]["name"] == "code_0F"
    meanings = [part["meaning"] for part in told["parts"]]
    assert "version: unknown" in meanings
    assert "code_0F: action 02 above 1" in meanings


@pytest.mark.parametrize(
    ("point", "value"),
    [
        (DataPoint(SWITCH, BOOL, b"\x01"), True),
        (DataPoint(SWITCH, BOOL, b"\x02"), "02"),
        (DataPoint(1, VALUE, b"\xff\xff\xff\xfe"), -2),
        (DataPoint(1, VALUE, b"\x01"), "01"),
        (DataPoint(1, 3, "ä".encode()), "ä"),
        (DataPoint(1, 4, b"\x03"), 3),
        (DataPoint(FAULT, BITMAP, b"\x08\x00"), 2048),
    ],
)
def test_values_are_decoded_by_their_type(point: DataPoint, value: object) -> None:
    (told,) = frame.explain(frame.encode(Frame(3, REPORT, (point,))))
    assert told["data_points"][0]["value"] == value


def test_switch_and_faults_are_explained_in_words() -> None:
    assert "off" in [part["meaning"] for part in frame.explain(F9)[0]["parts"]]
    fault = frame.explain("55AA0307000809050004000008002B")[0]["data_points"][0]
    assert fault["name"] == "fault"
    assert fault["faults"] == ["undervoltage"]
    meanings = [frame.explain(text)[0]["parts"][-2]["meaning"] for text in (
        "55AA0307000809050004000008002B", "55AA03070006090500020C002B", "55AA0307000509050001001D",
    )]  # fmt: skip
    assert meanings == ["faults: undervoltage", "faults: overvoltage, undervoltage", "faults: none"]


def test_fault_bits_have_the_names_of_the_table() -> None:
    assert fault_names(0x0400) == ["overvoltage"]
    assert fault_names(0x10001) == ["short_circuit", "no_balance"]
    assert fault_names(1 << 17) == ["bit_17"]
    assert fault_names(0) == []
