"""A visitor's connection to the broker: a client id of its own, a clean session, no will; MQTT 5, else 3.1.1."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt
import click
from paho.mqtt.properties import Properties
from pydantic import SecretStr, ValidationError

from bridge.cli.failures import Failure, read_configuration
from bridge.config import Configuration
from bridge.mqtt.cancelling import heeding
from bridge.mqtt.connection import code_of
from bridge.mqtt.refusals import refusal
from bridge.mqtt.settings import MqttSettings
from bridge.mqtt.writing import guard_writing

CONNECT_TIMEOUT_S = 10.0
NO_MQTT_5 = frozenset({1, 0x84})
REFUSED_FROM = 0x80
DEFAULT_URL = "mqtt://localhost:1883"


@dataclass(frozen=True, slots=True)
class BrokerChoice:
    """What the options of a verb say of the broker."""

    path: str | None = None
    url: str | None = None
    base: str | None = None
    username: str | None = None
    password_file: str | None = None
    protocol: str | None = None

    def spoken(self, settings: MqttSettings) -> MqttSettings:
        """The broker's settings with the protocol that was asked for."""
        if self.protocol is None:
            return settings
        return settings.model_copy(update={"protocol": 5 if self.protocol == "5" else 4})

    def configuration(self) -> Configuration | None:
        """The configuration, if one was named. Raises BadConfiguration, UsageError."""
        if self.path is None:
            return None
        if any((self.url, self.base, self.username, self.password_file)):
            raise click.UsageError(
                "-c takes the broker from the configuration: leave --url, --base, --username, --password-file out"
            )
        return read_configuration(self.path)

    def settings(self) -> MqttSettings:
        """The broker of the options without a configuration. Raises UsageError."""
        url = self.url or DEFAULT_URL
        if "@" in url:
            raise click.UsageError("write the user with --username and the password with --password-file")
        values: dict[str, Any] = {"url": url, "base_topic": self.base or "meterbridge"}
        if self.username is not None:
            values["username"] = self.username
        if self.password_file is not None:
            try:
                text = Path(self.password_file).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                raise click.UsageError("--password-file: expected a readable text in UTF-8") from None
            values["password"] = SecretStr(text.removesuffix("\n"))
        try:
            return MqttSettings.model_validate(values)
        except ValidationError as error:
            mistakes = [str(item["msg"]).removeprefix("Value error, ") for item in error.errors()]
            raise click.UsageError("; ".join(mistakes)) from None


class Line:
    """A connection. `protocol` is 5 or 4 (MQTT 3.1.1)."""

    def __init__(self, client: aiomqtt.Client, protocol: int) -> None:
        self._client = client
        self.protocol = protocol
        self._reason = 0
        # a loss that nobody waits for any more would be logged with a traceback
        client._disconnected.add_done_callback(_looked_at)  # noqa: SLF001 - aiomqtt has no other way to see it
        paho: Any = client._client  # noqa: SLF001 - aiomqtt hides the reason of a PUBACK
        aiomqtts_own = paho.on_publish

        def published(client_: Any, data: Any, mid: int, reason: Any, properties: Any) -> None:
            self._reason = code_of(reason)
            aiomqtts_own(client_, data, mid, reason, properties)

        paho.on_publish = published

    @property
    def messages(self) -> AsyncIterator[aiomqtt.Message]:
        """What comes in. Raises MqttError when the connection is lost."""
        return aiter(self._client.messages)

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Raises Failure that names the topic which the broker refuses, MqttError."""
        codes = await heeding(self._client.subscribe([(topic, 1) for topic in topics]))
        for topic, code in zip(topics, codes, strict=False):
            if code_of(code) >= REFUSED_FROM:
                raise Failure(
                    f"the broker does not let this user subscribe to {topic} ({code}): see its access rules"
                )

    async def publish(self, topic: str, payload: bytes, properties: Properties | None) -> None:
        """QoS 1, never retained; the broker has it when this returns. Raises Failure, MqttError."""
        await heeding(self._client.publish(topic, payload, qos=1, properties=properties))
        if self._reason >= REFUSED_FROM:
            raise Failure(
                f"the broker does not let this user publish to {topic} (reason 0x{self._reason:02x}): "
                "see its access rules"
            )


@contextlib.asynccontextmanager
async def connected(settings: MqttSettings, purpose: str) -> AsyncIterator[Line]:
    """A connection that ends with the block. Raises Failure that says what the broker said."""
    client, protocol = await _connect(settings, purpose)
    try:
        yield Line(client, protocol)
    finally:
        with contextlib.suppress(aiomqtt.MqttError):
            await heeding(client.__aexit__(None, None, None))


async def _connect(settings: MqttSettings, purpose: str) -> tuple[aiomqtt.Client, int]:
    try:
        return await _enter(settings, purpose, settings.protocol), settings.protocol
    except aiomqtt.MqttError as error:
        if settings.protocol == 4 or not _may_lack_mqtt_5(error):
            raise Failure(refusal(settings, error)) from None
    try:
        return await _enter(settings, purpose, 4), 4
    except aiomqtt.MqttError as error:
        raise Failure(refusal(settings, error)) from None


async def _enter(settings: MqttSettings, purpose: str, protocol: int) -> aiomqtt.Client:
    client = aiomqtt.Client(
        settings.host,
        settings.port,
        username=settings.username,
        password=settings.password.get_secret_value() if settings.password else None,
        identifier=f"meterbridge-{purpose}-{secrets.token_hex(4)}",
        protocol=aiomqtt.ProtocolVersion.V5 if protocol == 5 else aiomqtt.ProtocolVersion.V311,
        clean_session=True if protocol == 4 else None,
        transport=settings.transport,
        timeout=CONNECT_TIMEOUT_S,
        keepalive=int(settings.keepalive),
        tls_context=_tls(settings),
        websocket_path=settings.path or None,
        logger=_quiet(),
    )
    guard_writing(client)
    await heeding(client.__aenter__())
    return client


def _looked_at(lost: asyncio.Future[None]) -> None:
    if not lost.cancelled():
        lost.exception()


def _quiet() -> logging.Logger:
    logger = logging.getLogger("bridge.cli.mqtt")
    logger.setLevel(logging.CRITICAL)  # what it would say is said in the messages here
    return logger


def _tls(settings: MqttSettings) -> ssl.SSLContext | None:
    try:
        return settings.tls_context()
    except OSError as error:
        raise Failure(f"the files of mqtt.tls cannot be used: {error}") from None


def _may_lack_mqtt_5(error: aiomqtt.MqttError) -> bool:
    """A broker without MQTT 5 says so, or says nothing at all."""
    return code_of(getattr(error, "rc", None)) in NO_MQTT_5 or "timed out" in str(error)
