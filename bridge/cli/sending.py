"""`meterbridge send`: one command over MQTT, its acknowledgements as they come, its end as exit status.

Subscribes before it publishes, publishes once, and never again: what is unknown stays for the sender to decide.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiomqtt
import click
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bridge.cli.broker import BrokerChoice, Line, connected
from bridge.cli.failures import Failure, UnknownAccount, known_account
from bridge.cli.orders import Letter, Offer, Target, Wish, write
from bridge.cli.tables import printable, shortened
from bridge.contract.topics import Topics
from bridge.domain.ids import GATEWAY
from bridge.domain.quantity import duration_text
from bridge.domain.text import Json, dumps, loads
from bridge.mqtt.settings import MqttSettings

LOOK_AROUND_S = 0.5
"""How long the retained messages that help are waited for."""
NO_FINAL_ACK = 3
GATEWAY_TEXTS = frozenset({"account", "device", "reason", "start", "end"})
"""Parameters of the gateway's own commands that are text, though they may look like numbers: it has no `info`."""
_COLOURS = {"succeeded": "green", "accepted": "blue", "sent": "blue"}


@dataclass(slots=True)
class Around:
    """What the retained messages tell before the command leaves."""

    status: str | None = None
    accounts: list[str] | None = None
    offer: Offer | None = None
    looked: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Exchange:
    """One command and what comes back for it."""

    target: Target
    wish: Wish
    topics: Topics
    reply: str
    letter: Letter | None = None
    seen: set[bytes] = field(default_factory=set)
    last: dict[str, Any] | None = None

    def mine(self, topic: str, payload: bytes, protocol: int) -> dict[str, Any] | None:
        """The acknowledgement, if it is one of this command's that was not seen yet (it comes on both topics)."""
        if topic not in (self.reply, self.target.ack(self.topics)) or payload in self.seen:
            return None
        document = _object(payload)
        if document is None or not isinstance(document.get("status"), str):
            return None
        if topic != self.reply and not self._bears_my_id(document, protocol):
            return None
        self.seen.add(payload)
        self.last = document
        return document

    def _bears_my_id(self, document: dict[str, Any], protocol: int) -> bool:
        """On the topic that all senders share. Without an id and MQTT 5, the first command of this name that the
        gateway gave an id is taken for ours."""
        identity = document.get("id")
        if self.letter is not None and self.letter.id is not None:
            return bool(identity == self.letter.id)
        if protocol == 5:
            return False
        if self.last is not None:
            return bool(identity == self.last.get("id"))
        return document.get("command") == self.wish.command and str(identity).startswith("auto-")


def send(choice: BrokerChoice, target_text: str, wish: Wish, *, wait_s: float, as_json: bool) -> int:
    """Sends and follows; the exit status. Raises Failure, BadConfiguration, UsageError."""
    target = Target.parse(target_text)
    configuration = choice.configuration()
    if configuration is not None and target.account != GATEWAY:
        known_account(configuration, target.account)
    settings = choice.spoken(configuration.mqtt if configuration is not None else choice.settings())
    return asyncio.run(_send(settings, target, wish, wait_s, as_json))


async def _send(settings: MqttSettings, target: Target, wish: Wish, wait_s: float, as_json: bool) -> int:
    topics = Topics(settings.base_topic)
    topic = target.topic(topics, wish.command)
    async with connected(settings, "send") as line:
        reply = f"{topics.base}/{GATEWAY}/reply/{secrets.token_hex(8)}"
        exchange = Exchange(target, wish, topics, reply)
        around = Around()
        try:
            await _look_around(line, exchange, around)
            _check(target, around)
            made_up = f"cli-{secrets.token_hex(8)}"
            letter = write(wish, around.offer, line.protocol, made_up, datetime.now(UTC))
            exchange.letter = letter
            await line.publish(topic, letter.payload, _properties(exchange, letter, line.protocol))
            return await _follow(line, exchange, wait_s, as_json)
        except aiomqtt.MqttError as error:
            raise Failure(
                f"the connection to the broker was lost ({error}); "
                "whether the command was executed, `meterbridge journal list` tells"
            ) from None
        except TimeoutError:
            _explain_silence(exchange, around, wait_s)
            return NO_FINAL_ACK


async def _look_around(line: Line, exchange: Exchange, around: Around) -> None:
    """Subscribes to everything that matters, and reads what is retained there."""
    topics, target = exchange.topics, exchange.target
    status, info = topics.bridge("status"), topics.bridge("info")
    wanted = [status, info]
    if (own := target.info(topics)) is not None:
        wanted.append(own)
    elif target.account == GATEWAY:
        wanted = [status]
    await line.subscribe([target.ack(topics), exchange.reply, *wanted])
    if target.account == GATEWAY:
        around.offer = Offer((), needs_id=False, texts=GATEWAY_TEXTS)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LOOK_AROUND_S):
            async for message in line.messages:
                name = message.topic.value
                if name not in wanted:
                    continue
                around.looked.add(name)
                if name == status:
                    around.status = message.payload.decode(errors="replace")
                elif name == info:
                    around.accounts = _accounts(_object(message.payload))
                elif name == own:
                    around.offer = Offer.of(_object(message.payload), exchange.wish.command)
                if around.looked.issuperset(wanted):
                    break


def _check(target: Target, around: Around) -> None:
    accounts = around.accounts
    if accounts is not None and target.account != GATEWAY and target.account not in accounts:
        raise UnknownAccount(target.account, accounts, "the gateway's configuration")
    if around.status == "offline":
        click.echo("meterbridge: the gateway is offline; the broker may keep the command for it", err=True)
    elif around.status is None:
        click.echo(
            "meterbridge: no gateway was ever seen below this base topic; sending all the same", err=True
        )


def _properties(exchange: Exchange, letter: Letter, protocol: int) -> Properties | None:
    if protocol != 5:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho has no types here
    properties.ResponseTopic = exchange.reply
    properties.UserProperty = ("requester", exchange.wish.requester)
    if letter.id is not None:
        properties.CorrelationData = letter.id.encode()
    if letter.expiry_s is not None:
        properties.MessageExpiryInterval = letter.expiry_s
    return properties


async def _follow(line: Line, exchange: Exchange, wait_s: float, as_json: bool) -> int:
    async with asyncio.timeout(wait_s):
        async for topic, payload in _arrivals(line):
            document = exchange.mine(topic, payload, line.protocol)
            if document is None:
                continue
            click.echo(dumps(document).decode() if as_json else ack_line(document))
            if document.get("final") is True:
                return 0 if document["status"] == "succeeded" else 1
    raise TimeoutError


async def _arrivals(line: Line) -> AsyncIterator[tuple[str, bytes]]:
    async for message in line.messages:
        if not message.retain:
            yield message.topic.value, message.payload


def ack_line(document: dict[str, Any]) -> str:
    """An acknowledgement for people: time, status, and whatever else it says."""
    status = str(document["status"])
    colour = _COLOURS.get(status, "red")
    parts = [click.style(f"{printable(status):13}", fg=colour, bold=document.get("final") is True)]
    if document.get("duplicate") is True:
        parts.append("(again: this id was used before)")
    parts += [_lines(str(document[name])) for name in ("code", "message") if document.get(name)]
    if document.get("vendor_code") not in (None, 0, "0"):
        parts.append(f"vendor code {printable(str(document['vendor_code']))}")
    if document.get("final") is not True or document.get("status") == "rejected":
        parts.append(click.style(f"id {printable(str(document.get('id')))}", dim=True))
    if document.get("result") is not None:
        parts.append(shortened(dumps(document["result"]).decode(), 2000))
    return f"{time.strftime('%H:%M:%S')}  {'  '.join(parts)}"


def _lines(text: str) -> str:
    """A refused configuration has a line for each mistake: each below the other, as `check` prints them."""
    lines = [printable(line) for line in text.splitlines()]
    return lines[0] if len(lines) == 1 else "".join(f"\n    {line}" for line in lines)


def _explain_silence(exchange: Exchange, around: Around, wait_s: float) -> None:
    last = exchange.last
    if last is not None:
        text = (
            f"the last acknowledgement was {last['status']!r}; the command goes on: "
            f"`meterbridge journal show {printable(str(last.get('id')))} -c FILE` tells what became of it"
        )
    elif around.status == "online":
        text = "the gateway is online, but does not answer: does it have this account?"
    else:
        text = "does a gateway run, with this base topic and this broker?"
    click.echo(f"meterbridge: no final acknowledgement within {duration_text(wait_s)}: {text}", err=True)


def _accounts(info: dict[str, Any] | None) -> list[str] | None:
    rows: Json = (info or {}).get("accounts")
    if not isinstance(rows, list):
        return None
    return [str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row]


def _object(payload: bytes) -> dict[str, Any] | None:
    try:
        value = loads(payload)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
