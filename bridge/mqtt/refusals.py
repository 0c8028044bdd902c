"""What a broker said when it did not take us, in words for people. Pure."""

from __future__ import annotations

import aiomqtt

from bridge.mqtt.connection import code_of
from bridge.mqtt.settings import MqttSettings

_NOT_ALLOWED = (4, 5, 0x86, 0x87)


def refusal(settings: MqttSettings, error: Exception) -> str:
    """Who was refused where, and why; or that nobody answered there."""
    where = f"the broker at {settings.host}:{settings.port}"
    if not isinstance(error, aiomqtt.MqttError):
        return f"cannot connect to {where}: {error or type(error).__name__}"
    if code_of(getattr(error, "rc", None)) in _NOT_ALLOWED:
        who = f"the user {settings.username!r}" if settings.username else "a client without user and password"
        return f"{where} refuses {who}: {_words(error)}"
    if isinstance(error, aiomqtt.MqttCodeError):
        return f"{where} refuses the connection: {_words(error)}"
    return f"cannot connect to {where}: {_words(error)}"


def _words(error: aiomqtt.MqttError) -> str:
    rc = getattr(error, "rc", None)
    if isinstance(rc, int) and error.args:
        return str(error.args[0])
    return str(error if rc is None else rc)
