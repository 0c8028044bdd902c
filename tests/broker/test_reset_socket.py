"""A connection that the broker reset while something was to be written."""

from __future__ import annotations

import asyncio
import socket

import aiomqtt
import pytest

from bridge.mqtt.writing import guard_writing


@pytest.mark.parametrize("stands", [True, False])
async def test_socket_that_the_loop_gave_up_ends_the_connection_and_raises_nothing(
    stands: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def given_up(_number: int, _callback: object) -> None:
        raise RuntimeError("the handler is closed")

    loop = asyncio.get_running_loop()
    raised: list[object] = []
    loop.set_exception_handler(lambda _loop, context: raised.append(context))
    monkeypatch.setattr(loop, "add_writer", given_up)
    client = aiomqtt.Client("127.0.0.1")
    if stands:
        client._connected.set_result(None)
    ours, theirs = socket.socketpair()
    try:
        guard_writing(client)
        client._client.on_socket_register_write(client._client, None, ours)
        await asyncio.sleep(0)
    finally:
        ours.close()
        theirs.close()
    ended = client._disconnected if stands else client._connected
    assert isinstance(ended.exception(), aiomqtt.MqttError)
    assert raised == []
