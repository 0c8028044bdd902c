"""What is retained at the broker is exactly what there is: nothing of devices, accounts or names that are gone."""

from __future__ import annotations

import copy
import signal
import time
from typing import Any

import httpx

from tests.system.fixtures import DEVICES, MakeBroker, MakeGateway, MakeListener
from tests.system.polling import until
from tests.system.stage import HOST, PUSH_SECRET, Broker, Gateway, Listener, free_port, retained

D1, D2, D3 = DEVICES[:3]
LEAVES = ("info", "availability", "state")


def topics(base: str, accounts: dict[str, list[str]]) -> set[str]:
    """The retained topics of a gateway with these accounts and devices."""
    expected = {f"{base}/bridge/status", f"{base}/bridge/info"}
    for account, devices in accounts.items():
        expected |= {f"{base}/{account}/status", f"{base}/{account}/budget"}
        expected |= {f"{base}/{account}/{device}/{leaf}" for device in devices for leaf in LEAVES}
    return expected


def settles_at(broker: Broker, expected: set[str], gateway: Gateway) -> dict[str, bytes]:
    """What is retained once it is exactly this, and stays so."""

    def difference() -> str:
        seen = set(retained(broker.port, quiet_s=0.1))
        return f"missing {sorted(expected - seen)}, too much {sorted(seen - expected)}"

    nothing = "missing [], too much []"
    until(lambda: difference() == nothing, 15, "the retained topics", difference, gateway.tail)
    time.sleep(0.5)
    assert difference() == nothing
    return retained(broker.port, quiet_s=0.1)


def account(gateway: Gateway, **laid: Any) -> dict[str, Any]:
    """The gateway's account with keys laid over it."""
    return {**copy.deepcopy(gateway.configuration["accounts"][0]), **laid}


def reloaded(gateway: Gateway, listener: Listener, *accounts: dict[str, Any]) -> dict[str, Any]:
    """Writes these accounts and has the gateway read them by command; the final acknowledgement's result."""
    gateway.write({**gateway.configuration, "accounts": list(accounts)})
    name = f"reload-{time.monotonic_ns()}"
    listener.send("meterbridge/bridge/cmd/reload", {"id": name})
    done = listener.final("meterbridge/bridge/ack", name)
    assert done["status"] == "succeeded", done
    return dict(done["result"])


def test_device_that_a_reload_removes_takes_its_retained_topics_along(
    gateway: Gateway, listener: Listener, broker: Broker
) -> None:
    settles_at(broker, topics("meterbridge", {"shop": [D1, D2]}), gateway)
    result = reloaded(gateway, listener, account(gateway, devices=[D2, D3]))
    assert result["accounts"] == {"added": [], "changed": ["shop"], "removed": []}
    settles_at(broker, topics("meterbridge", {"shop": [D2, D3]}), gateway)
    listener.send(f"meterbridge/shop/{D1}/cmd/breaker", {"state": "on", "id": "gone"})
    assert listener.final(f"meterbridge/shop/{D1}/ack", "gone")["code"] == "unknown_device"
    listener.send(f"meterbridge/shop/{D3}/cmd/breaker", {"state": "on", "id": "new"})
    assert listener.final(f"meterbridge/shop/{D3}/ack", "new")["status"] == "succeeded"


def test_device_that_comes_back_is_complete_again(
    gateway: Gateway, listener: Listener, broker: Broker
) -> None:
    settles_at(broker, topics("meterbridge", {"shop": [D1, D2]}), gateway)
    reloaded(gateway, listener, account(gateway, devices=[D2]))
    settles_at(broker, topics("meterbridge", {"shop": [D2]}), gateway)
    reloaded(gateway, listener, account(gateway, devices=[D1, D2]))
    settles_at(broker, topics("meterbridge", {"shop": [D1, D2]}), gateway)


def test_account_that_a_reload_removes_takes_all_its_retained_topics_along(
    gateway: Gateway, listener: Listener, broker: Broker
) -> None:
    old, new = account(gateway), account(gateway, id="barn", devices=[D3], push=None)
    del new["push"]
    result = reloaded(gateway, listener, old, new)
    assert result["accounts"]["added"] == ["barn"]
    settles_at(broker, topics("meterbridge", {"shop": [D1, D2], "barn": [D3]}), gateway)
    reloaded(gateway, listener, new)
    settles_at(broker, topics("meterbridge", {"barn": [D3]}), gateway)
    before = listener.mark()
    listener.send(f"meterbridge/shop/{D1}/cmd/breaker", {"state": "on", "id": "nobody"})
    pushed = httpx.post(f"{gateway.web}/push/shop/{PUSH_SECRET}", json={}, trust_env=False)
    assert pushed.status_code == 404
    listener.send(f"meterbridge/barn/{D3}/cmd/online", {"id": "barn"})
    listener.final(f"meterbridge/barn/{D3}/ack", "barn")
    assert [one.topic for one in listener.all("meterbridge/shop/+/ack") if one.order >= before] == []


def test_account_that_goes_while_the_polls_run_leaves_nothing_behind(
    gateway: Gateway, listener: Listener, broker: Broker
) -> None:
    """Again and again: a round of the gateway's own reports may be under way at any of these moments."""
    shop = account(gateway, poll="1s")
    barn = {**account(gateway, id="barn", devices=[D3], poll="1s")}
    del barn["push"]
    for _ in range(4):
        reloaded(gateway, listener, shop, barn)
        time.sleep(0.1)
        reloaded(gateway, listener, shop)
    settles_at(broker, topics("meterbridge", {"shop": [D1, D2]}), gateway)


def test_what_changed_while_the_gateway_was_stopped_is_cleaned_up_at_its_start(
    gateway: Gateway, listener: Listener, broker: Broker
) -> None:
    barn = account(gateway, id="barn", devices=[D3])
    reloaded(gateway, listener, account(gateway), barn)
    settles_at(broker, topics("meterbridge", {"shop": [D1, D2], "barn": [D3]}), gateway)
    gateway.terminate()
    gateway.write({**gateway.configuration, "accounts": [account(gateway, devices=[D2])]})
    gateway.start()
    settles_at(broker, topics("meterbridge", {"shop": [D2]}), gateway)


def test_changed_base_topic_moves_everything(gateway: Gateway, listener: Listener, broker: Broker) -> None:
    before = settles_at(broker, topics("meterbridge", {"shop": [D1, D2]}), gateway)
    gateway.kill9()  # the Last Will leaves a retained `offline` on the old topic
    mqtt = {**gateway.configuration["mqtt"], "base_topic": "site/meters"}
    gateway.write({**gateway.configuration, "mqtt": mqtt})
    gateway.start()
    after = settles_at(broker, topics("site/meters", {"shop": [D1, D2]}), gateway)
    assert after["site/meters/bridge/status"] == b"online"
    for device in (D1, D2):
        for leaf in ("info", "availability"):
            place = f"shop/{device}/{leaf}"
            assert after[f"site/meters/{place}"] == before[f"meterbridge/{place}"]


def test_flat_metrics_come_and_go_with_their_switch(
    make_gateway: MakeGateway, listener: Listener, broker: Broker
) -> None:
    gateway = make_gateway(mqtt={"flat_metrics": True}, account={"devices": [D1]})
    listener.tails.append(gateway.tail)
    state = listener.wait(f"meterbridge/shop/{D1}/state").json
    flat = {f"meterbridge/shop/{D1}/state/{name}" for name in state["metrics"]}
    seen = settles_at(broker, topics("meterbridge", {"shop": [D1]}) | flat, gateway)
    assert seen[f"meterbridge/shop/{D1}/state/switch_state"] in (b'"on"', b'"off"')
    gateway.terminate()
    gateway.write({**gateway.configuration, "mqtt": {**gateway.configuration["mqtt"], "flat_metrics": False}})
    gateway.start()
    settles_at(broker, topics("meterbridge", {"shop": [D1]}), gateway)


def test_the_status_is_online_while_one_of_several_gateways_is_connected(
    gateway: Gateway, listener: Listener, broker: Broker
) -> None:
    """Each says `offline` when it goes, or the broker says it in its place."""
    status = "meterbridge/bridge/status"
    listener.wait(status, lambda one: one.payload == b"online")
    before = listener.mark()
    listener.send(status, b"offline", retain=True)
    listener.wait(status, lambda one: one.payload == b"online", after=before)
    assert retained(broker.port, topic=status) == {status: b"online"}
    assert gateway.terminate(15)[0] == 0
    assert retained(broker.port, topic=status) == {status: b"offline"}


def test_a_restart_does_not_forget_when_the_vendor_answered_last(
    gateway: Gateway, listener: Listener
) -> None:
    status = "meterbridge/shop/status"
    told = listener.wait(status, lambda one: one.json["last_success"] is not None).json["last_success"]
    gateway.kill9()
    before = listener.mark()
    gateway.write(
        {
            **gateway.configuration,
            "accounts": [account(gateway, base_url=f"http://{HOST}:{free_port()}/deviceApi")],
        }
    )
    gateway.start()
    away = listener.wait(status, lambda one: one.json["state"] == "unreachable", after=before).json
    assert away["last_success"] >= told


def persistent(make_broker: MakeBroker, make_gateway: MakeGateway) -> tuple[Broker, Gateway]:
    broker = make_broker(persistence=True)
    gateway = make_gateway(at=broker, account={"devices": [D1]})
    settles_at(broker, topics("meterbridge", {"shop": [D1]}), gateway)
    return broker, gateway


def test_broker_that_comes_back_from_a_power_cut_with_an_older_picture_gets_what_it_lost(
    make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener
) -> None:
    broker, gateway = persistent(make_broker, make_gateway)
    broker.signal(signal.SIGUSR1)  # writes its picture; by itself it does so every half hour
    until(lambda: (broker.folder / "mosquitto.db").exists(), 10, "the picture is written", broker.tail)
    listener = make_listener(broker)
    reloaded(gateway, listener, account(gateway, devices=[D1, D2]))
    everything = topics("meterbridge", {"shop": [D1, D2]})
    settles_at(broker, everything, gateway)
    listener.end()
    broker.kill()
    broker.start()
    settles_at(broker, everything, gateway)
    connections = gateway.events("mqtt.connected")
    assert [one["session"] for one in connections] == [False, True]


def test_broker_that_kept_everything_is_not_told_it_again(
    make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener
) -> None:
    broker, gateway = persistent(make_broker, make_gateway)
    listener = make_listener(broker)
    listener.wait(f"meterbridge/shop/{D1}/info")
    seen = listener.mark()
    broker.restart()
    listener.wait("meterbridge/bridge/status", lambda one: one.payload == b"online", 30, after=seen)
    assert gateway.events("mqtt.connected")[1]["session"] is True
    listener.send(f"meterbridge/shop/{D1}/cmd/online", {"id": "after"})
    listener.final(f"meterbridge/shop/{D1}/ack", "after")
    told = [one for one in listener.all(f"meterbridge/shop/{D1}/info") if not one.dup]
    assert len(told) == 1
