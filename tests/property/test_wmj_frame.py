"""Frames of the wmj breaker: decoding and encoding are inverse, and no text makes the codec stumble."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.vendors.wmj import frame
from bridge.vendors.wmj.points import RAW, DataPoint, Frame

byte = st.integers(0, 255)
plain_points = st.builds(DataPoint, byte, st.integers(1, 255), st.binary(max_size=40))
raw_points = st.builds(
    DataPoint, byte, st.just(RAW), st.binary(max_size=40).map(lambda raw: raw[: len(raw) // 4 * 4])
)
frames = st.builds(Frame, byte, byte, st.lists(plain_points | raw_points, min_size=1, max_size=5).map(tuple))


@given(st.lists(frames, min_size=1, max_size=3))
def test_what_is_encoded_decodes_to_the_same(values: list[Frame]) -> None:
    text = "".join(frame.encode(value) for value in values)
    assert frame.decode(text) == tuple(values)
    assert "".join(frame.encode(value) for value in frame.decode(text.lower())) == text


@given(st.text(max_size=60) | st.text("0123456789abcdefABCDEF \n", max_size=80))
@example("55AA")
@example("55AA0307FFFF")
def test_no_text_raises_anything_but_a_frame_error(text: str) -> None:
    for read in (frame.decode, frame.with_checksum, frame.explain):
        with contextlib.suppress(frame.FrameError):
            read(text)


@given(frames, st.data())
def test_a_changed_byte_is_never_taken_for_the_same_frame(value: Frame, data: st.DataObject) -> None:
    raw = bytearray.fromhex(frame.encode(value))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = (raw[at] + data.draw(st.integers(1, 255))) % 256
    try:
        decoded = frame.decode(raw.hex())
    except frame.FrameError:
        return
    assert decoded != (value,)


@given(frames)
def test_a_wrong_checksum_is_found_and_can_be_fixed(value: Frame) -> None:
    text = frame.encode(value)
    wrong = f"{text[:-2]}{(int(text[-2:], 16) + 1) % 256:02X}"
    with pytest.raises(frame.FrameError, match="checksum"):
        frame.decode(wrong)
    assert frame.with_checksum(wrong) == text


@given(frames)
def test_an_explanation_covers_every_byte_of_the_frame(value: Frame) -> None:
    text = frame.encode(value)
    (told,) = frame.explain(text)
    assert "".join(part["bytes"] for part in told["parts"]) == text
