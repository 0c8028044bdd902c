"""`info`, customer data, and the ledger of retained topics: what is ours is cleared exactly, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.app.gateway import Gateway, Source
from bridge.domain.device import DeviceKind
from bridge.domain.observation import Availability, Described, Origin, Reading
from bridge.vendors import VENDORS
from tests.fakes.harness import Harness
from tests.fakes.vendor import device


def topics(harness: Harness) -> set[str]:
    return set(harness.retained())


async def test_the_inventory_describes_every_device(harness: Harness) -> None:
    info = harness.retained()["home/D1/info"]
    assert {key: info[key] for key in ("account", "vendor", "device", "kind")} == {
        "account": "home",
        "vendor": "fake",
        "device": "D1",
        "kind": "breaker",
    }
    assert info["metrics"]["voltage"] == {"unit": "V", "description": "voltage of a single-phase device"}
    assert info["commands"]["recharge"]["needs_id"] is True
    assert info["commands"]["wipe"]["dangerous"] is True
    assert info["commands"]["breaker"]["params"]["properties"]["state"]["enum"] == ["on", "off"]


async def test_an_unchanged_inventory_publishes_nothing(harness: Harness) -> None:
    before = len(harness.published("#"))
    await harness.intake.take_inventory("home", harness.vendor.devices)
    await harness.restart()
    assert len(harness.published("#")) == before


async def test_a_configured_device_that_the_vendor_does_not_list_is_told_once(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.set_policy(include=("D1", "D2", "D7", "D8", "X*"), exclude=("D8",))
    await harness.restart()
    for _ in range(2):
        await harness.intake.take_inventory("home", harness.vendor.devices)
    told = [record for record in caplog.records if record.getMessage() == "inventory.unlisted"]
    assert [(vars(one)["account"], vars(one)["devices"]) for one in told] == [("home", ["D7"])]


async def test_a_refreshed_inventory_clears_what_is_gone_and_takes_commands_of_what_is_new(
    harness: Harness,
) -> None:
    harness.vendor.devices[:] = [device("D1"), device("D9")]
    ack = (await harness.command("home/cmd/refresh_inventory"))[-1]
    assert ack["status"] == "succeeded"
    assert not {topic for topic in topics(harness) if topic.startswith("home/D2/")}
    assert "home/D9/info" in topics(harness)
    assert [(await harness.command(f"home/{name}/cmd/read"))[-1]["code"] for name in ("D9", "D2")] == [
        None,
        "unknown_device",
    ]


async def test_a_unit_that_the_configuration_tells_stands_in_the_description(harness: Harness) -> None:
    def told(**units: str) -> Described:
        return Described(device("D1", metrics=("purchase_total", "voltage"), units=units))

    await harness.take(told(purchase_total="m³"))
    await harness.take(Described(device("D1", model="W71")))
    assert harness.retained()["home/D1/info"]["metrics"]["purchase_total"]["unit"] == "m³"
    await harness.take(told())
    metrics = harness.retained()["home/D1/info"]["metrics"]
    assert (metrics["purchase_total"]["unit"], metrics["voltage"]["unit"]) == ("", "V")


async def test_what_becomes_known_is_added_and_what_is_missing_erases_nothing(harness: Harness) -> None:
    await harness.take(Described(device("D1", model="W71", firmware="71.0.33", vendor_info={"imei": "0"})))
    await harness.take(Described(device("D1", name="Pump", metrics=("current",), vendor_info={"hw": "2"})))
    info = harness.retained()["home/D1/info"]
    assert (info["name"], info["model"], info["firmware"]) == ("Pump", "W71", "71.0.33")
    assert list(info["metrics"]) == ["switch_state", "voltage", "current"]
    assert info["vendor_info"] == {"imei": "0", "hw": "2"}
    await harness.restart()
    assert harness.retained()["home/D1/info"] == info
    known = harness.roster.device("home", "D1")
    assert known is not None
    assert known.firmware == "71.0.33"  # a command's check sees it


async def test_a_metric_that_comes_later_joins_the_description(harness: Harness) -> None:
    await harness.take(Reading("D1", harness.clock.now(), Origin.POLL, {"voltage": 230, "balance_energy": 7}))
    info = harness.retained()["home/D1/info"]
    assert list(info["metrics"]) == ["switch_state", "voltage", "balance_energy"]
    assert info["metrics"]["balance_energy"] == {
        "unit": "kWh",
        "description": "energy credit left; only while prepay is true",
    }
    before = len(harness.published("home/D1/info"))
    await harness.take(Reading("D1", harness.clock.now(), Origin.PUSH, {"balance_energy": 8}))
    await harness.restart()
    await harness.intake.take_inventory("home", harness.vendor.devices)
    assert len(harness.published("home/D1/info")) == before


async def test_what_is_told_before_a_device_is_described_is_in_its_description(harness: Harness) -> None:
    await harness.take(
        Reading("D7", harness.clock.now(), Origin.PUSH, {"current": 1}),
        Described(device("D7", metrics=("voltage",))),
    )
    assert list(harness.retained()["home/D7/info"]["metrics"]) == ["voltage", "current"]


async def test_the_name_of_the_configuration_wins(tmp_path: Path) -> None:
    async with Harness(tmp_path, names={"D1": "Boiler"}) as harness:
        await harness.take(Described(device("D1", name="Pump")))
        assert harness.retained()["home/D1/info"]["name"] == "Boiler"


async def test_an_excluded_device_is_not_there(tmp_path: Path) -> None:
    async with Harness(tmp_path, exclude=("D2",)) as harness:
        assert "home/D2/info" not in topics(harness)
        (ack,) = await harness.command("home/D2/cmd/read")
        assert ack["code"] == "unknown_device"


async def test_a_command_that_is_not_allowed_is_not_offered(tmp_path: Path) -> None:
    async with Harness(tmp_path, allow=("read", "set_*")) as harness:
        assert list(harness.retained()["home/D1/info"]["commands"]) == ["read"]


async def test_customer_data_is_left_out_by_default_and_not_even_kept(harness: Harness) -> None:
    await harness.take(Described(device("D1", vendor_info={"imei": "0"}, customer_info={"owner": "Ms Doe"})))
    assert harness.retained()["home/D1/info"]["vendor_info"] == {"imei": "0"}
    assert not [one for one in harness.published("#") if b"Doe" in one.body]
    row = await harness.store.run(lambda tx: tx.devices.get("home", "D1"))
    assert row is not None
    assert "Doe" not in str(row.info)


async def test_customer_data_is_published_where_the_account_wants_it(tmp_path: Path) -> None:
    async with Harness(tmp_path, customer_data=True) as harness:
        await harness.take(Described(device("D1", customer_info={"owner": "Ms Doe"})))
        assert harness.retained()["home/D1/info"]["vendor_info"] == {"owner": "Ms Doe"}
        harness.set_policy(customer_data=False)
        await harness.restart()
        assert harness.retained()["home/D1/info"]["vendor_info"] == {}


async def test_a_kind_that_becomes_known_changes_the_info(harness: Harness) -> None:
    await harness.take(Described(device("D1", kind=DeviceKind.RTU)))
    await harness.take(harness.reading({"voltage": 230}, 1))
    assert harness.retained()["home/D1/info"]["kind"] == "rtu"
    assert harness.docs("home/D1/telemetry")[0]["kind"] == "rtu"


async def test_a_meter_whose_medium_changes_has_none_of_the_metrics_of_the_old_one(tmp_path: Path) -> None:
    async with Harness(tmp_path, flat_metrics=True) as harness:
        names = ("import_energy", "switch_state", "last_online")
        await harness.take(Described(device("D1", kind=DeviceKind.ELECTRICITY_METER, metrics=names)))
        at = "2026-01-01T00:00:00Z"
        first = {"import_energy": 900, "switch_state": "on", "last_online": at}
        await harness.take(harness.reading(first, 1))
        await harness.clock.advance(2)
        water = device(
            "D1", kind=DeviceKind.WATER_METER, metrics=("water_volume", "valve_state", "last_online")
        )
        await harness.take(Described(water))
        state = harness.retained()["home/D1/state"]
        assert (state["kind"], state["metrics"]) == ("water_meter", {"last_online": at})
        assert set(harness.retained()["home/D1/info"]["metrics"]) == set(water.metrics)
        assert {topic for topic in topics(harness) if topic.startswith("home/D1/state/")} == {
            "home/D1/state/last_online"
        }
        await harness.clock.advance(2)
        await harness.take(harness.reading({"water_volume": 9, "valve_state": "open"}, 1))
        assert harness.docs("home/D1/telemetry")[-1]["metrics"] == {"water_volume": 9, "valve_state": "open"}
        assert harness.docs("home/D1/event") == []
        before = len(harness.published("#"))
        await harness.take(Described(water))
        assert len(harness.published("#")) == before


async def test_a_device_id_that_a_topic_forbids_is_percent_encoded(tmp_path: Path) -> None:
    async with Harness(tmp_path, devices=("A/1 +#",)) as harness:
        assert "home/A%2F1%20%2B%23/info" in topics(harness)
        assert harness.retained()["home/A%2F1%20%2B%23/info"]["device"] == "A/1 +#"
        accepted, final = await harness.command("home/A%2F1%20%2B%23/cmd/breaker", "on")
        assert (accepted["device"], final["status"]) == ("A/1 +#", "succeeded")


async def test_a_device_that_is_gone_is_cleared_and_no_other(tmp_path: Path) -> None:
    async with Harness(tmp_path, flat_metrics=True) as harness:
        for name in ("D1", "D2"):
            await harness.take(
                harness.reading({"voltage": 230}, 1, device=name),
                Availability(name, True, harness.clock.now(), Origin.POLL, said=False),
            )
        await harness.intake.take_inventory("home", harness.vendor.devices[:1])
        cleared = [one.topic for one in harness.published("#") if one.retain and not one.body]
        assert sorted(cleared) == [
            f"mb/home/D2/{leaf}" for leaf in ("availability", "info", "state", "state/voltage")
        ]
        assert topics(harness) == {
            f"home/D1/{leaf}" for leaf in ("availability", "info", "state", "state/voltage")
        }
        (ack,) = await harness.command("home/D2/cmd/read")
        assert ack["code"] == "unknown_device"


async def test_a_device_that_returns_has_its_state_at_once_also_where_it_says_nothing_new(
    harness: Harness,
) -> None:
    record = harness.reading({"voltage": 230}, 1, device="D2")
    await harness.take(record)
    await harness.intake.take_inventory("home", harness.vendor.devices[:1])
    assert "home/D2/state" not in topics(harness)
    await harness.intake.take_inventory("home", harness.vendor.devices)
    await harness.take(record)
    await harness.advance(2)
    assert "home/D2/state" in topics(harness)
    assert harness.docs("home/D2/state")[-1]["metrics"] == {"voltage": 230}
    assert len(harness.docs("home/D2/telemetry")) == 1, "the same record is published once"


async def test_a_device_that_returns_is_described_again(harness: Harness) -> None:
    await harness.intake.take_inventory("home", harness.vendor.devices[:1])
    await harness.intake.take_inventory("home", harness.vendor.devices)
    assert "home/D2/info" in topics(harness)
    assert [ack["status"] for ack in await harness.command("home/D2/cmd/breaker", "on")][-1] == "succeeded"


CONFIGURATION = """
mqtt: {{url: "mqtt://localhost:1", base_topic: {base}}}
http: {{listen: "off"}}
state: {{url: "sqlite:///{path}"}}
accounts:
  - {{id: {account}, vendor: wmj, app_id: a, app_secret: FAKE0000, devices: [W7100000001]}}
"""


async def started(harness: Harness, folder: Path, *, base: str, account: str) -> None:
    """A real gateway starts on the database that the harness has left, and ends without having met a broker."""
    file = folder / "config.yaml"
    file.write_text(CONFIGURATION.format(base=base, path=harness.path, account=account))
    source = Source(file, VENDORS, {})
    await harness.crash()
    gateway = Gateway(source, source.read())
    try:
        await gateway.start()
    finally:
        await gateway.stop()


async def test_a_removed_account_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    async with Harness(tmp_path) as harness:
        await harness.take(harness.reading({"voltage": 230}, 1))
        mine = topics(harness)
        assert mine == {"home/D1/info", "home/D2/info", "home/D1/state"}
        await started(harness, tmp_path, base="mb", account="other")
        cleared = [one.topic for one in harness.published("#") if one.retain and not one.body]
        assert sorted(cleared) == sorted(f"mb/{topic}" for topic in mine)
        assert {topic for topic in topics(harness) if not topic.startswith("bridge/")} >= {
            "other/W7100000001/info"
        }


async def test_after_a_change_of_the_base_topic_the_old_topics_are_cleared(tmp_path: Path) -> None:
    async with Harness(tmp_path) as harness:
        await harness.take(harness.reading({"voltage": 230}, 1))
        mine = topics(harness)
        await started(harness, tmp_path, base="new", account="home")
        cleared = [one.topic for one in harness.published("#") if one.retain and not one.body]
        assert sorted(cleared) == sorted(f"mb/{topic}" for topic in mine)
