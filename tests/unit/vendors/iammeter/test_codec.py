"""Rows, layouts, times and the inventory beyond the page's vectors (sections 1.2, 4.8, 4.9, 6.1, 6.2, 7.1)."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from bridge.domain.device import DeviceKind
from bridge.domain.errors import BadReply
from bridge.domain.metrics import METRICS
from bridge.domain.observation import Origin
from bridge.vendors.iammeter import codec
from bridge.vendors.iammeter.rows import Layout, guessed_layout, measured, rows_of
from bridge.vendors.iammeter.wire import bucket_of, date_of, envelope_of, time_of
from tests.unit.vendors.iammeter.bench import NOW, POLICY, SN, data

FIVE = [230, 1, 119, 1766, 3]


def test_the_layouts_of_the_table() -> None:
    assert measured([[230, 1, 119, "0.5", 1766, 3]], Layout.ADVANCED).metrics["power_factor"] == Decimal(
        "0.5"
    )
    assert "power_factor" not in measured([FIVE], Layout.ADVANCED).metrics
    assert measured([FIVE], Layout.ADVANCED).metrics == measured([FIVE], Layout.BASIC).metrics
    seven = measured([[*FIVE, 50, 1]], Layout.BASIC)
    assert (seven.metrics["frequency"], seven.metrics["power_factor"], seven.extra) == (50, 1, {})


@pytest.mark.parametrize(
    ("row", "layout", "beyond"),
    [
        ([*FIVE, 50], Layout.BASIC, [50]),
        ([*FIVE, 50, 1, "x", None], Layout.BASIC, ["x", None]),
        ([230, 1, 119, 0.5, 1766, 3, 8], Layout.ADVANCED, [8]),
    ],
)
def test_elements_beyond_the_layout_are_kept_as_sent(
    row: list[Any], layout: Layout, beyond: list[Any]
) -> None:
    found = measured([row], layout)
    assert found.extra == {"row_0": beyond}
    assert "frequency" not in found.metrics or len(row) >= 7


def test_rows_beyond_four_are_kept_as_sent() -> None:
    found = measured([FIVE] * 5, Layout.BASIC)
    assert found.extra == {"row_4": FIVE}
    assert found.metrics["active_power_net"] == 119


def test_two_rows_are_the_phases_a_and_b_without_sums() -> None:
    found = measured([FIVE, FIVE], Layout.BASIC)
    assert set(found.metrics) == {
        f"{name}_{phase}"
        for name in ("voltage", "current", "active_power", "import_energy", "export_energy")
        for phase in "ab"
    }


def test_a_short_row_gives_nothing_and_spoils_the_sums() -> None:
    found = measured([FIVE, FIVE[:4], FIVE], Layout.BASIC)
    assert found.unusable == 1
    assert "voltage_a" in found.metrics
    assert not {"voltage_b", "active_power", "import_energy"} & found.metrics.keys()
    assert measured([FIVE[:4]], Layout.BASIC).metrics == {}


def test_values_that_are_no_numbers_are_left_out_and_never_zero() -> None:
    found = measured([[None, "", "x", True, "12.50"]], Layout.BASIC)
    assert found.metrics == {"export_energy": Decimal("12.5")}


def test_sums_are_exact() -> None:
    rows = [[230, 1, Decimal("0.1"), 1, 0], [230, 1, Decimal("0.2"), 1, 0], [230, 1, Decimal("-0.3"), 1, 0]]
    assert measured(rows, Layout.BASIC).metrics["active_power"] == 0


@pytest.mark.parametrize(
    ("rows", "layout"),
    [
        ([[230, 1, 119, Decimal("0.66"), 5724, 0]], Layout.ADVANCED),
        ([[230, 1, 119, Decimal("-0.66"), 5724, 0], [1, 0, 0, 0, 0, 0]], Layout.ADVANCED),
        ([[230, 1, 119, Decimal("0.66"), 1, 0]], Layout.BASIC),
        ([[230, 1, 119, 1766, 3, 50]], Layout.BASIC),
        ([[230, 1, 119, Decimal("0.66"), 5724, 0], [230, 1, 119, 1766, 3, 50]], Layout.BASIC),
        ([[230, 1, 119, None, 5724, 0]], Layout.BASIC),
        ([[230, 1, 119, None, 5724, 0], [230, 1, 119, Decimal("0.66"), 5, 0]], Layout.ADVANCED),
        ([[230, 1, 119, Decimal("0.66"), 5724, 0], FIVE], Layout.BASIC),
        ([FIVE], Layout.BASIC),
        ([], Layout.BASIC),
    ],
)
def test_the_layout_of_six_elements_is_guessed_as_the_page_says(rows: list[Any], layout: Layout) -> None:
    assert guessed_layout(rows) is layout


def test_a_forced_layout_wins_over_the_guess() -> None:
    item = {"sn": SN, "values": [230, 1, 119, Decimal("0.66"), 5724, 0], "gmtTime": "2026/2/25 11:00:00"}
    assert codec.all_latest([item], Layout.BASIC)[SN].measured.metrics["import_energy"] == Decimal("0.66")
    assert codec.all_latest([item], None)[SN].measured.metrics["import_energy"] == 5724


def test_a_flat_row_is_wrapped_also_where_it_begins_with_null() -> None:
    assert rows_of([None, 1, 2, 3, 4]) == [[None, 1, 2, 3, 4]]
    assert rows_of([FIVE]) == [FIVE]
    assert rows_of([]) == []
    assert rows_of({"a": 1}) is None


def test_one_unreadable_meter_does_not_hide_the_others() -> None:
    items = [{"sn": SN, "values": "x"}, 7, {"values": [FIVE]}, {"sn": 5, "values": [FIVE]}]
    assert set(codec.all_latest(items, None)) == {"5"}
    for unreadable in (None, {}, [1], [{"sn": SN, "values": 3}]):
        with pytest.raises(BadReply):
            codec.all_latest(unreadable, None)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2020/8/28 5:27:33", datetime(2020, 8, 28, 5, 27, 33)),
        ("2023/11/21 14:30:22", datetime(2023, 11, 21, 14, 30, 22)),
        ("2023-09-01 00:00:00", datetime(2023, 9, 1)),
        ("28/2020/8/15:27:33", None),
        ("2020/13/28 5:27:33", None),
        ("2020/8/28 5:7:33", None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
def test_times_are_read_without_leading_zeros(text: Any, time: datetime | None) -> None:
    assert time_of(text) == time


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026", datetime(2026, 1, 1)),
        ("2026-02", datetime(2026, 2, 1)),
        ("2026-02-24", datetime(2026, 2, 24)),
        ("2026-02-24 10:00", datetime(2026, 2, 24, 10)),
        ("2026/2/24 10", datetime(2026, 2, 24, 10)),
        ("2026-02-30", None),
        ("soon", None),
    ],
)
def test_buckets_are_read_leniently(text: str, time: datetime | None) -> None:
    assert bucket_of(text) == time


def test_dates_are_iso_only() -> None:
    assert date_of("2023-09-01") is not None
    assert date_of("2023-9-1") is None
    assert date_of("2023-02-30") is None


@pytest.mark.parametrize("body", [b"", b"  \r\n", b"null", b" null ", b"\xef\xbb\xbf", b"\xef\xbb\xbfnull"])
def test_nothing_is_nothing(body: bytes) -> None:
    assert envelope_of(body) is None


def test_a_byte_order_mark_is_no_part_of_an_answer() -> None:
    told = envelope_of(b'\xef\xbb\xbf{"data": 1, "successful": true}')
    assert told is not None
    assert (told.data, told.successful) == (1, True)


@pytest.mark.parametrize("body", [b"[]", b"<html>", b'{"data":', b'{"data": 1} // x'])
def test_what_is_no_envelope_is_a_mistake(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        envelope_of(body)


def test_the_inventory_has_sites_and_meters() -> None:
    found = codec.sites(data("sitelist"))
    devices = codec.devices(found, POLICY, with_sites=False)
    assert [(one.native_id, one.name, one.serial, one.kind) for one in devices] == [
        (SN, "Grid meter", SN, DeviceKind.ELECTRICITY_METER),
        ("E5F6A7B8", "Inverter meter", "E5F6A7B8", DeviceKind.ELECTRICITY_METER),
    ]
    assert {str(one.vendor_info) for one in devices} == {"{'site_id': 12345}"}
    assert {str(one.customer_info) for one in devices} == {"{'site_name': 'Demo site'}"}
    plants = [
        one for one in codec.devices(found, POLICY, with_sites=True) if one.kind is DeviceKind.SOLAR_PLANT
    ]
    assert [(one.native_id, one.name) for one in plants] == [("12345", None)]
    assert set(plants[0].metrics) <= METRICS.keys()


def test_sites_without_meters_and_meters_without_number_are_no_mistake() -> None:
    items = [
        {"id": 1, "name": "a", "meters": None},
        {"id": 2},
        {"id": 3, "meters": [{"name": "x"}, {"sn": SN}, {"sn": SN}, 5]},
    ]
    assert [[meter.sn for meter in site.meters] for site in codec.sites(items)] == [[], [], [SN]]


@pytest.mark.parametrize("unreadable", [None, {}, "x", [1], [{"id": 1, "meters": {"sn": SN}}]])
def test_half_an_inventory_is_none(unreadable: Any) -> None:
    with pytest.raises(BadReply):
        codec.sites(unreadable)


def test_customer_data_in_unknown_fields_stays_here() -> None:
    item = {"values": [[*FIVE, 9]], "gmtTime": "2026/3/4 11:59:30", "siteName": "Home", "rssi": -60}
    sample = codec.latest(item, Layout.BASIC)
    (reading,) = codec.reading(SN, sample, NOW, Origin.POLL, POLICY)
    assert reading.extra == {"rssi": -60, "row_0": [9]}


def test_unknown_fields_of_the_inventory_are_kept_and_customers_apart() -> None:
    sent = {"sn": SN, "name": "Grid", "model": "WEM3080T", "ssid": "home", "gone": None}
    nested = {"kind": 1, "userName": "joe", "accessToken": "x"}
    page = [{"id": 1, "name": "Home", "meters": [sent], "timeZone": 8, "address": "1 Road", "more": [nested]}]
    site, meter = codec.devices(codec.sites(page), POLICY, with_sites=True)
    common = {"site_id": 1, "site_timeZone": 8, "site_more": [{"kind": 1}]}
    customer = {
        "site_name": "Home",
        "site_address": "1 Road",
        "site_more": [{"kind": 1, "userName": "joe"}],
    }
    assert (dict(site.vendor_info), dict(site.customer_info)) == (common, customer)
    assert dict(meter.vendor_info) == common | {"model": "WEM3080T"}
    assert dict(meter.customer_info) == customer | {"ssid": "home"}


def test_customer_data_deep_in_unknown_fields_stays_here_too() -> None:
    item = {"values": [FIVE], "gmtTime": "2026/3/4 11:59:30", "site": {"ownerName": "joe", "floor": 2}}
    (reading,) = codec.reading(SN, codec.latest(item, Layout.BASIC), NOW, Origin.POLL, POLICY)
    assert reading.extra == {"site": {"floor": 2}}


@pytest.mark.parametrize(("local", "offset"), [("2026/3/4 23:59:30", 720), ("2026/3/6 11:59:30", None)])
def test_an_offset_that_no_zone_has_is_not_believed(local: str, offset: int | None) -> None:
    item = {"values": [FIVE], "localTime": local, "gmtTime": "2026/3/4 11:59:30"}
    sample = codec.latest(item, Layout.BASIC)
    assert sample.utc_offset_min == offset
    assert sample.observed_at == datetime(2026, 3, 4, 11, 59, 30, tzinfo=UTC)
