"""An application to which the vendor's older end points are closed: the newer ones do it (page saj 4.27 to 4.32)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.simulators.faults import Fault
from tests.commands.rows import LOSSES, Loss
from tests.commands.saj import KEPT, OWNER, PLANT, spare
from tests.commands.stage import Sent, Stage

BARN = {"c_user_id": OWNER, "name": "Barn", "peak_power": 5.5, "Country": "C", "City": "D"}
PLACE = {"Country": "C", "City": "D"}

# command, parameters, older end point, newer one, its form, effect
TWINS: list[tuple[str, dict[str, Any], str, str, str, str]] = [
    ("modify_user", {"c_user_id": OWNER, "name": "N"}, "user/modify", "user/modifysign", f"c_user_id={OWNER}&name=N",
     "user_modified"),
    ("add_datalogger", {"plant_id": PLANT, "sn": "L-1"}, "device/datalogger/add", "device/datalogger/addsign",
     f"plant_id={PLANT}&sn=L-1", "datalogger_added"),
    ("modify_datalogger", {"plant_id": PLANT, "original_sn": "601000101", "sn": "L-3"}, "device/datalogger/modify",
     "device/datalogger/modifysign", f"plant_id={PLANT}&original_sn=601000101&sn=L-3", "datalogger_modified"),
    ("add_plant", BARN, "plant/add", "plant/addsign",
     "name=Barn&Country=C&City=D&peak_power=5.5&is_public=false", "plant_added"),
]  # fmt: skip


def posts(stage: Stage) -> list[Sent]:
    return [one for one in stage.sent() if one[0].startswith("POST")]


@pytest.mark.parametrize("code", [10005, 10014])
@pytest.mark.parametrize(("command", "params", "older", "newer", "form", "effect"), TWINS)
async def test_the_newer_end_point_takes_over_and_is_what_a_dry_run_shows_from_then_on(
    tmp_path: Path,
    command: str,
    params: dict[str, Any],
    older: str,
    newer: str,
    form: str,
    effect: str,
    code: int,
) -> None:
    async with Stage(tmp_path, "saj") as stage:
        stage.cloud.options.closed = {older: code}
        spare(stage.cloud)
        await stage.order(None, command, {"id": "c-1", **params})
        final = await stage.carried("c-1")
        assert (final["status"], final["code"], final["vendor_code"]) == ("succeeded", None, 0)
        assert [line for line, _ in posts(stage)] == [f"POST /{older}", f"POST /{newer}"]
        assert posts(stage)[-1][1] == form
        assert stage.effects() == [effect]
        await stage.order(None, command, {"id": "d-1", "dry_run": True, **params})
        assert stage.final("d-1")["result"]["request"]["url"].endswith(f"/{newer}")


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
async def test_a_plant_without_an_owner_is_found_after_a_lost_answer_and_no_other_is_taken_for_it(
    tmp_path: Path, loss: Loss
) -> None:
    async with Stage(tmp_path, "saj") as stage:
        await stage.order(None, "add_plant", {"id": "c-0", **BARN})
        first = await stage.carried("c-0")
        stage.cloud.options.closed = {"plant/add": 10014}
        stage.cloud.faults.add(Fault(endpoint="plant/addsign", **loss.fault))
        await stage.order(None, "add_plant", {"id": "c-1", **BARN})
        final = await stage.carried("c-1")
        if loss.acts:
            assert final["status"] == "succeeded"
            assert final["result"]["plant_id"] == first["result"]["plant_id"] + 1
            assert "assign_plant" in final["message"]
        else:
            assert (final["status"], final["code"]) == ("failed", "no_answer")
        assert stage.effects() == ["plant_added"] * (1 + loss.acts)


async def test_where_the_list_could_not_be_read_before_nobody_knows(tmp_path: Path) -> None:
    async with Stage(tmp_path, "saj") as stage:
        stage.cloud.options.closed = {"plant/add": 10014}
        stage.cloud.faults.add(Fault("http_500", endpoint="plant/list"))
        stage.cloud.faults.add(Fault("lose_reply", endpoint="plant/addsign"))
        await stage.order(None, "add_plant", {"id": "c-1", **BARN})
        final = await stage.carried("c-1")
        assert (final["status"], final["code"]) == ("indeterminate", "no_answer")
        assert stage.effects() == ["plant_added"]


@pytest.mark.parametrize("after_s", [0, 0.3, 0.5, 0.7, 0.9, 2])
async def test_a_crash_at_any_time_takes_no_older_plant_for_the_new_one(
    tmp_path: Path, after_s: float
) -> None:
    async with Stage(tmp_path, "saj") as stage:
        await stage.order(None, "add_plant", {"id": "c-0", **BARN})
        await stage.carried("c-0")
        stage.cloud.options.closed = {"plant/add": 10014}
        stage.cloud.faults.add(Fault("refuse_before_acting", endpoint="plant/addsign"))
        await stage.order(None, "add_plant", {"id": "c-1", **BARN})
        await stage.advance(after_s)
        await stage.restart()
        final = await stage.carried("c-1")
        made = stage.effects().count("plant_added") - 1
        assert made <= 1
        assert final["status"] == ("succeeded" if made else "failed")


async def test_a_changed_plant_takes_its_place_from_the_master_data(tmp_path: Path) -> None:
    async with Stage(tmp_path, "saj") as stage:
        stage.cloud.options.closed = {"plant/modify": 10014}
        await stage.order(
            None, "modify_plant", {"id": "c-1", "plant_id": PLANT, "name": "Barn", "peak_power": 6}
        )
        assert (await stage.carried("c-1"))["status"] == "succeeded"
        form = f"{KEPT}&name=Barn&peak_power=6&is_public=false&Country=China&City=Guangzhou"
        assert posts(stage)[-1] == ("POST /plant/modifysign", form)
        assert stage.effects() == ["plant_modified"]


async def test_an_owner_cannot_be_had_without_the_older_end_point_and_the_place(tmp_path: Path) -> None:
    params = {name: value for name, value in BARN.items() if name not in PLACE}
    async with Stage(tmp_path, "saj") as stage:
        stage.cloud.options.closed = {"plant/add": 10005}
        await stage.order(None, "add_plant", {"id": "c-1", **params})
        final = await stage.carried("c-1")
        assert (final["status"], final["code"]) == ("failed", "unsupported")
        assert stage.effects() == []


@pytest.mark.parametrize("code", [10003, 10004])
async def test_a_token_that_was_refused_before_leaves_no_doubt_about_what_came_then(
    tmp_path: Path, code: int
) -> None:
    """Both were refused before they were carried out: nothing is unknown."""
    async with Stage(tmp_path, "saj") as stage:
        for one in (10012, code):
            stage.cloud.faults.add(Fault("native_code", endpoint="plant/delete", code=one))
        await stage.order(None, "delete_plant", {"id": "c-1", "plant_id": PLANT, "confirm": True})
        final = await stage.carried("c-1")
        assert (final["status"], final["code"], final["vendor_code"]) == ("failed", "rate_limited", code)
        assert len(posts(stage)) == 2
        assert stage.effects() == []
