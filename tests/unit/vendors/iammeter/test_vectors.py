"""The test vectors of the vendor page (section 9): exactly these metrics, at exactly these times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from bridge.domain.errors import AuthFailed, RateLimited
from bridge.domain.metrics import METRICS
from bridge.domain.observation import Availability
from bridge.pace.limits import Lane
from bridge.vendors.iammeter import analysis, codec, history
from bridge.vendors.iammeter.rows import Layout
from tests.unit.vendors.iammeter.bench import (
    LOGGED_IN,
    NOTHING,
    PASSWORD,
    SN,
    SN2,
    SN3,
    Account,
    data,
    fixture,
    latest,
    plain,
    raw,
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


LATEST = [
    ("meterdata__single_phase", Layout.BASIC, "2020-08-28T05:27:33", 600, 1),
    ("meterdata2__single_phase", Layout.ADVANCED, "2023-11-21T06:30:22", 480, 1),
    ("meterdata__three_phase", Layout.BASIC, "2020-08-28T05:30:48", 600, 3),
    ("meterdata2__negative_half_hour_offset", Layout.ADVANCED, "2023-11-21T06:39:06", -210, 3),
    ("meterdata__seven_elements_net_row", Layout.BASIC, "2026-02-05T01:05:00", 480, 3),
]


@pytest.mark.parametrize(("name", "layout", "ts", "offset_min", "phases"), LATEST)
def test_vectors_9_1_to_9_5_latest_data(
    name: str, layout: Layout, ts: str, offset_min: int, phases: int
) -> None:
    sample = codec.latest(data(name), layout)
    assert plain(sample.measured.metrics) == plain(fixture(f"{name}.expected"))
    assert (sample.observed_at, sample.utc_offset_min, sample.phases) == (at(ts), offset_min, phases)
    assert not sample.extra
    assert all(METRICS[name].takes(value) for name, value in sample.measured.metrics.items())


@pytest.mark.parametrize(
    ("offset_min", "times"),
    [
        (600, ["2023-09-11T14:00:34", "2023-09-11T14:01:33"]),
        (-600, ["2023-09-12T00:00:34", "2023-09-12T00:01:33"]),
        (None, ["2023-09-11T14:00:34", "2023-09-11T14:01:33"]),
    ],
)
def test_vector_9_6_single_phase_history(offset_min: int | None, times: list[str]) -> None:
    samples = history.basic(data("meterdatalist__single_phase"), offset_min, "local_first")
    assert [sample.observed_at for sample in samples] == [at(text) for text in times]
    expected = fixture("meterdatalist__single_phase.expected")
    assert [plain(sample.measured.metrics) for sample in samples] == [plain(one) for one in expected]


@pytest.mark.parametrize("offset_min", [480, None])
def test_vector_9_7_three_phase_history(offset_min: int | None) -> None:
    (sample,) = history.basic(data("meterdatalist__three_phase"), offset_min, "local_first")
    assert sample.observed_at == at("2023-09-11T16:00:15")
    assert plain(sample.measured.metrics) == plain(fixture("meterdatalist__three_phase.expected"))


async def test_vector_9_8_all_meters(account: Account) -> None:
    name = "metersdata__nested_flat_empty"
    samples = codec.all_latest(data(name), None)
    assert {sn: plain(one.measured.metrics) for sn, one in samples.items() if one.measured.rows} == {
        sn: plain(metrics) for sn, metrics in fixture(f"{name}.expected").items()
    }
    assert samples[SN].observed_at == at("2026-02-25T11:00:00")
    assert samples[SN2].observed_at == at("2026-02-25T10:59:41")
    account.cloud.will(raw(name))
    seen = await account.seen("metersdata", SN, SN2, SN3)
    assert [one for one in seen if one.__class__ is Availability and one.device == SN3] == [
        Availability(SN3, False, account.clock.now(), seen[0].origin, False)
    ]
    assert not [
        one for one in seen if one.__class__ is not Availability and getattr(one, "device", "") == SN3
    ]


def test_vector_9_9_offline_analysis() -> None:
    found = analysis.offline_analysis(data("offlineanalysis"), timezone(timedelta(minutes=480)))
    assert found.result == fixture("offlineanalysis.expected")
    assert found.unknown == ()


@pytest.mark.parametrize("name", ["poweranalysis__other_spelling", "poweranalysis"])
def test_vector_9_10_power_analysis_in_both_spellings(name: str) -> None:
    found = analysis.power_analysis(data(name))
    assert found.result == fixture("poweranalysis__other_spelling.expected")
    assert list(found.result) == list(fixture("poweranalysis__other_spelling.expected"))
    assert found.unknown == ()


async def test_vector_9_11_a_nothing_suspends_this_meter_for_an_hour_and_no_other(account: Account) -> None:
    account.cloud.will(NOTHING)
    with pytest.raises(RateLimited) as caught:
        await account.poll(f"meter:{SN}")
    assert caught.value.retry_after_s == 3600
    assert account.gate.wait_s([("meterdata", SN)], Lane.POLL) == 3600
    assert account.gate.wait_s([("meterdata", SN2)], Lane.POLL) == 0
    (batch,) = await account.poll(f"meter:{SN}")
    assert (list(batch.observations), batch.next_in_s) == ([], 3601)
    assert len(account.cloud.requests) == 1


async def test_vector_9_11_b_a_bad_token_is_renewed_once_and_the_call_repeated_once(
    make: Callable[..., Account],
) -> None:
    account = make(username="demo-user", password=PASSWORD, token="0" * 32)
    account.cloud.will(raw("failure__invalid_token"), LOGGED_IN, latest())
    assert len(await account.seen(f"meter:{SN}")) == 3
    assert account.cloud.paths == [f"/site/meterdata2/{SN}", "/user/login", f"/site/meterdata2/{SN}"]


async def test_vector_9_11_b_a_bad_static_token_is_a_failure_of_the_account(account: Account) -> None:
    account.cloud.will(raw("failure__invalid_token"))
    with pytest.raises(AuthFailed):
        await account.poll(f"meter:{SN}")
    assert len(account.cloud.requests) == 1


async def test_vector_9_11_c_no_data_yet_is_no_record_and_offline(account: Account) -> None:
    account.cloud.will(raw("meterdata__no_data_yet"))
    (seen,) = await account.seen(f"meter:{SN}")
    assert (seen.device, seen.online, seen.said) == (SN, False, False)
