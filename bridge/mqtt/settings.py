"""The section `mqtt` of the configuration."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from bridge.domain.quantity import Duration
from bridge.domain.settings import FOLDER, LocalPath, Settings

_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """Where the broker is. `port` is None where the URL names none; `path` is empty but for WebSockets."""

    scheme: str
    host: str
    port: int | None
    path: str

    @classmethod
    def parse(cls, text: str) -> BrokerUrl:
        """The parts of `mqtt://host:port` or `ws://host:port/path`. Raises ValueError if it is none."""
        expected = "expected a URL such as mqtt://localhost:1883 (schemes: mqtt, mqtts, ws, wss)"
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError(expected) from None
        if "@" in parts.netloc:
            raise ValueError(
                "expected a URL without user and password; they belong to the keys username, password"
            )
        if parts.scheme not in _PORTS or not host or port == 0 or not text.isprintable() or " " in text:
            raise ValueError(expected)
        if parts.query or parts.fragment:
            raise ValueError("expected a URL without '?' and '#'")
        if not parts.scheme.startswith("ws") and parts.path not in ("", "/"):
            raise ValueError("expected a URL without a path: only ws:// and wss:// have one")
        path = (parts.path or "/mqtt") if parts.scheme.startswith("ws") else ""
        return cls(parts.scheme, host, port, path)


def _broker_url(text: str) -> str:
    BrokerUrl.parse(text)
    return text


def _topic(text: str) -> str:
    levels_filled = all(text.split("/"))
    if not levels_filled or text.startswith("$") or set("+#") & set(text) or not text.isprintable():
        raise ValueError(
            "expected a topic such as meterbridge or site/meters: no '+', '#' or empty level, "
            "no '/' at its ends, no '$' at its beginning"
        )
    return text


def _protocol(value: Any) -> Any:
    return {"5": 5, "5.0": 5, "4": 4, "3.1.1": 4}.get(value, value) if isinstance(value, str) else value


Topic = Annotated[str, Field(max_length=1024), AfterValidator(_topic)]
Protocol = Annotated[
    Literal[4, 5], BeforeValidator(_protocol, json_schema_input_type=Literal[5, 4, "5", "4", "3.1.1"])
]


def _readable(path: Path, info: ValidationInfo) -> Path:
    """Opens the file where a configuration file names it, so that the mistake is reported there."""
    if info.context and FOLDER in info.context:
        try:
            path.open("rb").close()
        except OSError as error:
            raise ValueError(f"expected a readable file: {error.strerror}") from None
        except ValueError:
            raise ValueError("expected the name of a file") from None
    return path


def _authorities(path: Path, info: ValidationInfo) -> Path:
    if info.context and FOLDER in info.context:
        try:
            ssl.create_default_context(cafile=str(path))
        except OSError:
            raise ValueError("expected a PEM file with the certificates of authorities") from None
    return path


def _no_phrase() -> str:
    """In the place of OpenSSL's own question, for which the terminal would be waited on."""
    return ""


PemFile = Annotated[LocalPath, AfterValidator(_readable)]


class TlsSettings(Settings):
    """`tls`: PEM files; without `ca` the system's authorities are trusted. The broker is always verified."""

    ca: Annotated[PemFile, AfterValidator(_authorities)] | None = None
    cert: PemFile | None = None
    key: PemFile | None = None

    @model_validator(mode="after")
    def _key_has_cert(self) -> TlsSettings:
        if self.key is not None and self.cert is None:
            raise ValueError("expected cert beside key")
        return self

    @model_validator(mode="after")
    def _pair(self, info: ValidationInfo) -> TlsSettings:
        if self.cert is not None and info.context and FOLDER in info.context:
            try:
                self.show_cert(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
            except OSError:
                raise ValueError(
                    "expected cert and its own key as PEM files, the key without a pass phrase"
                ) from None
        return self

    def show_cert(self, context: ssl.SSLContext) -> None:
        """Has the context show `cert`, if there is one. Raises OSError for files that cannot be used."""
        if self.cert is not None:
            context.load_cert_chain(str(self.cert), str(self.key) if self.key else None, password=_no_phrase)


class DiscoverySettings(Settings):
    """`discovery`: Home Assistant's MQTT discovery. `prefix` is the one that Home Assistant listens to."""

    enabled: bool = False
    prefix: Topic = "homeassistant"


class MqttSettings(Settings):
    """How the broker is reached and what is published there. `protocol` is 5, or 4 for MQTT 3.1.1; `window`
    is how many messages may be in flight, unacknowledged; `fast` False: paho as it is, without our
    shortcuts."""

    url: Annotated[str, AfterValidator(_broker_url)] = "mqtt://localhost:1883"
    username: str | None = None
    password: SecretStr | None = None
    client_id: str | None = Field(default=None, min_length=1, max_length=256)
    tls: TlsSettings | None = None
    protocol: Protocol = 5
    base_topic: Topic = "meterbridge"
    flat_metrics: bool = False
    state_interval: Duration = 1.0
    keepalive: Duration = 30.0
    discovery: DiscoverySettings = DiscoverySettings()
    window: int = Field(default=100, ge=1, le=1000)
    fast: bool = True

    @field_validator("keepalive")
    @classmethod
    def _keepalive(cls, value: float) -> float:
        if not 1 <= value <= 65535 or value != int(value):
            raise ValueError("expected whole seconds from 1s to 65535s")
        return value

    @model_validator(mode="after")
    def _password_has_username(self) -> MqttSettings:
        if self.password is not None and self.username is None:
            raise ValueError("expected username beside password")
        return self

    @model_validator(mode="after")
    def _discovery_elsewhere(self) -> MqttSettings:
        if f"{self.discovery.prefix}/".startswith(f"{self.base_topic}/"):
            raise ValueError("expected a discovery.prefix that is not below base_topic")
        return self

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted: the URL's scheme says so, or the key `tls` is there."""
        return self._parts.scheme in ("mqtts", "wss") or self.tls is not None

    def tls_context(self) -> ssl.SSLContext | None:
        """How the broker is verified and, with `cert`, how we show who we are; None without encryption. Raises OSError
        (ssl.SSLError is one) for files that are no PEM."""
        if not self.uses_tls:
            return None
        context = ssl.create_default_context(cafile=str(self.tls.ca) if self.tls and self.tls.ca else None)
        if self.tls is not None:
            self.tls.show_cert(context)
        return context

    @property
    def transport(self) -> Literal["tcp", "websockets"]:
        """What carries MQTT, in paho's words."""
        return "websockets" if self._parts.scheme.startswith("ws") else "tcp"

    @property
    def host(self) -> str:
        """The broker's name or address (IPv6 without brackets)."""
        return self._parts.host

    @property
    def port(self) -> int:
        """The URL's port, or the usual one of its scheme."""
        secure = {"mqtt": "mqtts", "ws": "wss"}.get(self._parts.scheme, self._parts.scheme)
        return self._parts.port or _PORTS[secure if self.uses_tls else self._parts.scheme]

    @property
    def path(self) -> str:
        """The WebSocket path, `/mqtt` where the URL has none; empty for plain MQTT."""
        return self._parts.path

    @property
    def _parts(self) -> BrokerUrl:
        return BrokerUrl.parse(self.url)
