"""The shapes of answers (Q2, Q17, Q8) and the errors that codes stand for (section 5)."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.errors import (
    AuthFailed,
    BadReply,
    DeviceOffline,
    LostAnswer,
    Refused,
    VendorError,
)
from bridge.vendors.wmj.faults import cloud_error, verify_cloud, verify_device
from bridge.vendors.wmj.wire import answer_of


@pytest.mark.parametrize(
    "body",
    [
        b'{"code": 0, "data": {"info": {"code": 0, "msg": ""}}}',
        b'{"data": {"msg_id": 54, "cmd_type": "turnon_ack", "info": {"code": 0}}}',
        b'{"type": 1, "device_sn": "W7100000001", "info": {"code": 0, "msg": "Auto turnoff"}, "msg_id": 208}',
        b'{"code": "0", "data": {"info": {"code": "0"}}}',
        b'{"code": 0, "data": {"info": {"status": 1, "voltage": 1}}}',
        b'{"code": 0, "data": {"info": {"status": "1", "code": 0}}}',
        b'{"code": 0, "data": {"info": [0]}}',
        b'{"data": {"info": ["0", "ok"]}}',
        b'\xef\xbb\xbf{"code": 0, "data": {"info": {"code": 0}}}',
    ],
)
def test_every_shape_of_success_is_understood(body: bytes) -> None:
    verify_device(answer_of(body), "turnon")


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b'{"code": 0, "data": {"info": {"code": 2, "msg": "controlled by schedule"}}}', 2, "schedule holds"),
        (b'{"data": {"info": {"code": "2"}}}', 2, "schedule holds"),
        (b'{"code": 0, "data": {"info": [0, 2]}}', 2, "schedule holds"),
        (b'{"code": 0, "data": {"info": ["Controlled by SCHEDULE"]}}', 2, "schedule holds"),
        (b'{"code": 0, "data": {"info": [5, "jammed"]}}', 5, "jammed"),
        (b'{"code": 0, "data": {"info": {"code": 7, "msg": "too hot"}}}', 7, "too hot"),
        (b'{"code": 0, "data": {"info": {"code": "E7"}}}', "E7", "E7"),
        (b'{"code": 0, "data": {"info": {"code": 0, "status": 0}}}', "status 0", "status 0"),
    ],
)
def test_a_devices_no_is_a_refusal_with_its_code(body: bytes, code: Any, words: str) -> None:
    with pytest.raises(Refused, match=words) as refused:
        verify_device(answer_of(body), "turnoff")
    assert (refused.value.code, refused.value.native_code) == ("device_refused", code)


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"code": 0}', b'{"code": 0, "data": {"info": {}}}', b'{"code": 0, "data": {"info": []}}'],
)
def test_an_answer_without_the_devices_word_is_as_good_as_none(body: bytes) -> None:
    with pytest.raises(BadReply):
        verify_device(answer_of(body), "turnon")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"1", b'{"code": "none"}', b'{"code": true}'])
def test_what_is_no_answer_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        answer_of(body)


@pytest.mark.parametrize(
    ("code", "kind", "ack"),
    [
        (1001, LostAnswer, None),
        (1002, DeviceOffline, None),
        (1003, Refused, "vendor_error"),
        (1004, Refused, "vendor_error"),
        (1005, Refused, "vendor_error"),
        (1006, AuthFailed, None),
        (100, Refused, "vendor_error"),
        (-1, Refused, "vendor_error"),
    ],
)
def test_each_cloud_code_has_its_remedy(code: int, kind: type[VendorError], ack: str | None) -> None:
    answer = answer_of(b'{"code": %d, "msg": "text", "data": {"info": {"code": 0}}}' % code)
    with pytest.raises(kind, match="text") as raised:
        verify_device(answer, "turnon")
    assert raised.value.native_code == code
    assert getattr(raised.value, "code", None) == ack


def test_an_endless_text_of_the_vendor_is_cut() -> None:
    assert len(cloud_error(1003, "x" * 10000, "turnon").message) < 300


def test_an_answer_of_the_cloud_alone_needs_a_code() -> None:
    verify_cloud(answer_of(b'{"code": 0}'), "register")
    verify_cloud(answer_of(b'{"code": 1005}'), "register", also=(1005,))
    with pytest.raises(BadReply):
        verify_cloud(answer_of(b'{"msg": "ok"}'), "register")
    with pytest.raises(Refused):
        verify_cloud(answer_of(b'{"code": 1005}'), "register")


@given(st.binary(max_size=60) | st.text('{}[]":,0123456789codeinfdata', max_size=60).map(str.encode))
def test_no_answer_raises_anything_but_a_value_error(body: bytes) -> None:
    with contextlib.suppress(ValueError, VendorError):
        verify_device(answer_of(body), "x")
