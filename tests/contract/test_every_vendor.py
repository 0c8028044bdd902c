"""What the gateway relies on in every vendor: one suite for all, against simulated clouds and against ruins."""

from __future__ import annotations

import json
import traceback
from typing import Any

import httpx
import jsonschema
import pytest
from pydantic import ValidationError

from bridge.contract import payloads
from bridge.domain.alarms import MESSAGE_SEVERITY
from bridge.domain.command import ACK_CODES, AfterLoss, Evidence, Follow, Status
from bridge.domain.device import Device
from bridge.domain.errors import LostAnswer, NotSent, RateLimited, Rejection, VendorError, Withdrawn
from bridge.domain.interlocks import Deed
from bridge.domain.metrics import METRICS
from bridge.domain.observation import AlarmMessage, Batch, Described, Observation, Origin, Reading, Words
from bridge.domain.text import dumps, loads
from bridge.vendorkit.settings import AccountSettings
from bridge.vendors import VENDORS
from tests.contract.cases import CASES
from tests.contract.world import World

NAMES = sorted(VENDORS)
every_vendor = pytest.mark.parametrize("name", NAMES)

RUINS: dict[str, tuple[Any, type[VendorError]]] = {
    "dead host": (httpx.ConnectError("refused"), NotSent),
    "no way there": (httpx.ConnectTimeout("slow"), NotSent),
    "reset": (httpx.ReadError("reset"), LostAnswer),
    "silence": (httpx.ReadTimeout("slow"), LostAnswer),
    "half an answer": (httpx.RemoteProtocolError("closed"), LostAnswer),
    "500": ((500, b"oops"), LostAnswer),
    "503": ((503, b"{}"), LostAnswer),
    "a web page": ((200, b"<html>maintenance</html>"), LostAnswer),
    "nothing": ((200, b""), LostAnswer),
    "half a document": ((200, b'{"code": 200, "data": ['), LostAnswer),
    "a list": ((200, b"[]"), LostAnswer),
    "a number": ((200, b"7"), LostAnswer),
    "no text": ((200, b"\xff\xfe\x00"), LostAnswer),
}


def test_every_vendor_has_a_case_and_every_case_a_vendor() -> None:
    assert set(CASES) == set(VENDORS)


@every_vendor
def test_the_settings_are_those_of_an_account_of_this_vendor(name: str) -> None:
    model = VENDORS[name].settings
    settings = model.model_validate(CASES[name].settings)
    assert issubclass(model, AccountSettings)
    assert VENDORS[name].name == settings.vendor == name
    assert VENDORS[name].title
    assert VENDORS[name].kinds
    for wrong in ({"vendor": "other"}, {"unheard_of": 1}, {"poll": "0s"}, {"poll": 5}):
        with pytest.raises(ValidationError):
            model.model_validate({**CASES[name].settings, **wrong})
    json.dumps(model.model_json_schema())


@every_vendor
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured(name: str, status: int) -> None:
    async with World(name) as world:
        devices = await world.devices()
        (task, *_) = [one for one in world.adapter.poll_tasks(devices) if one.costs and one.lane == "poll"]
        cloud = world.recorder.cloud
        world.ruin((status, b"", {"Retry-After": "1800"}))
        with pytest.raises((RateLimited, LostAnswer)):
            await world.drain(task)
        asked = len(world.recorder.requests)
        for _ in range(3):
            world.clock.time.advance(500)
            await world.failures(devices[:1], [task])
        again = [request.url.path for request in world.recorder.requests[asked:]]
        assert world.recorder.requests[asked - 1].url.path not in again
        world.recorder.cloud = cloud
        world.clock.time.advance(302)
        await world.drain(task)
        assert len(world.recorder.requests) > asked


@every_vendor
async def test_429_is_no_outage_and_not_asked_again_at_once(name: str) -> None:
    async with World(name) as world:
        devices = await world.devices()
        (task, *_) = [one for one in world.adapter.poll_tasks(devices) if one.costs and one.lane == "poll"]
        world.ruin((429, b""))
        with pytest.raises(RateLimited) as raised:
            await world.drain(task)
        assert raised.value.retry_after_s > 1


@every_vendor
def test_secrets_do_not_show_in_the_settings(name: str) -> None:
    settings = VENDORS[name].settings.model_validate(CASES[name].settings)
    assert CASES[name].secrets
    for text in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert not [secret for secret in CASES[name].secrets if secret in text]


@every_vendor
async def test_limits_are_named_once_and_make_sense(name: str) -> None:
    async with World(name) as world:
        names = [limit.name for limit in world.limits]
        assert names
        assert len(set(names)) == len(names)
        for limit in world.limits:
            assert limit.endpoint
            assert limit.scope in {"account", "device", "site", "ip", "endpoint"}
            assert limit.windows or limit.concurrency
            assert all(window.count >= 1 and window.seconds > 0 for window in limit.windows)
            assert not limit.windows or max(window.count for window in limit.windows) > limit.reserve


@every_vendor
async def test_the_inventory_is_complete_and_stable(name: str) -> None:
    async with World(name) as world:
        devices = await world.devices()
        ids = [device.native_id for device in devices]
        assert ids
        assert len(set(ids)) == len(ids)
        for device in devices:
            assert (device.account, device.vendor) == (world.settings.id, name)
            assert device.kind in world.spec.kinds
        assert [device.native_id for device in await world.devices()] == ids


@every_vendor
async def test_an_excluded_device_is_in_nobodys_way(name: str) -> None:
    async with World(name) as world:
        first = (await world.devices())[0].native_id
    chosen = world.case.settings.get("devices", [])
    async with World(name, devices={"include": chosen, "exclude": [first]}) as world:
        devices = [one for one in await world.devices() if world.policy.exposes(one.native_id)]
        assert first not in [device.native_id for device in devices]
        for batch in await polled(world, devices):
            assert first not in [getattr(one, "device", None) for one in batch.observations]


@every_vendor
async def test_the_info_document_is_json_and_names_only_what_is_in_the_catalogue(name: str) -> None:
    async with World(name) as world:
        for device in await world.devices():
            assert set(device.metrics) <= METRICS.keys()
            assert len(set(device.metrics)) == len(device.metrics)
            commands = {
                spec.name: payloads.command_info(spec) for spec in world.adapter.commands(device).values()
            }
            document = payloads.info(device, commands, customer_data=True)
            assert loads(dumps(document)) == loads(dumps(loads(dumps(document))))
            assert not [secret for secret in world.case.secrets if secret in dumps(document).decode()]


# polling --------------------------------------------------------------------------------------------------------------


async def polled(world: World, devices: list[Device]) -> list[Batch]:
    return [batch for task in world.adapter.poll_tasks(devices) async for batch in world.adapter.poll(task)]


@every_vendor
async def test_poll_tasks_are_named_once_and_cost_limits_that_there_are(name: str) -> None:
    async with World(name) as world:
        devices = await world.devices()
        tasks = world.adapter.poll_tasks(devices)
        assert tasks
        assert len({task.key for task in tasks}) == len(tasks)
        assert [task.key for task in world.adapter.poll_tasks(devices)] == [task.key for task in tasks]
        limits = {limit.name for limit in world.limits}
        for task in tasks:
            assert task.costs.keys() <= limits
            assert all(cost > 0 for cost in task.costs.values())
            assert task.interval_s >= 1
            assert task.lane in {"poll", "alarms", "inventory"}
            assert set(task.devices) <= {device.native_id for device in devices}
        assert any(task.costs for task in tasks)
        assert list(world.adapter.poll_tasks([])) == [] or not any(
            task.devices for task in world.adapter.poll_tasks([])
        )


@every_vendor
async def test_what_is_polled_is_in_the_catalogue_and_bears_no_secret(name: str) -> None:
    async with World(name) as world:
        devices = await world.devices()
        batches = await polled(world, devices)
        readings = 0
        for observation in (one for batch in batches for one in batch.observations):
            if isinstance(observation, Reading | Words):
                readings += 1
                for metric, value in observation.metrics.items():
                    assert METRICS[metric].takes(value), (metric, value)
            if isinstance(observation, Reading):
                assert observation.received_at.tzinfo is not None
                assert observation.observed_at is None or observation.observed_at.tzinfo is not None
                dumps(dict(observation.extra))
            if isinstance(observation, AlarmMessage):
                assert observation.code in MESSAGE_SEVERITY or observation.code.startswith("vendor_")
            if isinstance(observation, Described):
                assert set(observation.device.metrics) <= METRICS.keys()
            assert not [secret for secret in world.case.secrets if secret in repr(observation)]
        assert readings


# commands -------------------------------------------------------------------------------------------------------------


@every_vendor
async def test_the_commands_are_those_of_the_table_with_its_flags(name: str) -> None:
    async with World(name) as world:
        offered: dict[bool, set[str]] = {True: set(), False: set()}
        for device, spec, row in world.commands(await world.devices()):
            offered[device is None].add(spec.name)
            assert (spec.idempotent, spec.needs_id, spec.dangerous, spec.writes) == (
                row.idempotent,
                row.needs_id,
                row.dangerous,
                row.writes,
            ), spec.name
            assert spec.description
        assert offered[True] == set(world.case.account_commands)
        assert offered[False] == set(world.case.device_commands)


@every_vendor
async def test_the_schema_of_a_command_says_what_its_model_takes(name: str) -> None:
    async with World(name) as world:
        for _device, spec, row in world.commands(await world.devices()):
            schema = spec.schema()
            jsonschema.Draft202012Validator.check_schema(schema)
            json.dumps(schema)
            assert schema["type"] == "object"
            assert schema["additionalProperties"] is False
            validator = jsonschema.Draft202012Validator(schema)
            for example in row.examples:
                spec.params.model_validate_json(dumps(example))
                validator.validate(example)
            wrong = {**row.examples[0], "unheard_of": 1}
            with pytest.raises(ValidationError):
                spec.params.model_validate_json(dumps(wrong))
            assert not validator.is_valid(wrong)


@every_vendor
async def test_parameters_survive_the_journal_and_leave_no_secret_there(name: str) -> None:
    async with World(name) as world:
        for _device, spec, row in world.commands(await world.devices()):
            for example in row.examples:
                given = spec.params.model_validate_json(dumps(example))
                kept = given.model_dump_json(exclude_unset=True)
                assert spec.params.model_validate_json(kept) == given, spec.name
                assert not [secret for secret in world.case.secrets if secret in kept + repr(given)]


@every_vendor
async def test_what_happens_after_a_lost_answer_is_said_for_every_command(name: str) -> None:
    async with World(name) as world:
        for device, spec, row in world.commands(await world.devices()):
            for example in row.examples:
                params = spec.params.model_validate_json(dumps(example))
                after = spec.after_loss(params)
                assert isinstance(after, AfterLoss)
                assert after.otherwise.final
                assert after.code in ACK_CODES
                assert after.message
                assert list(after.ask_at_s) == sorted(set(after.ask_at_s))
                assert after.send_again == 0 or spec.idempotent or spec.name == "hex_frame"
                if example.get("state") in ("on", "open"):
                    assert after.send_again == 0, "restoring a supply is never sent twice"
                if example.get("state") in ("off", "close"):
                    assert after.send_again == 1
                follow = spec.follow(device)
                assert isinstance(follow, Follow)
                assert follow.then_every_s > 0
                assert follow.otherwise.final
                evidence = spec.evidence(params)
                assert evidence is None or isinstance(evidence, Evidence)
                if evidence is not None and evidence.metric is not None:
                    assert METRICS[evidence.metric].takes(evidence.value)


ACTS = {
    "breaker": {"on": (Deed.SWITCH_ON,), "off": (Deed.SWITCH_OFF,)},
    "valve": {"open": (Deed.VALVE_OPEN,), "close": (Deed.VALVE_CLOSE,)},
    "pulse_on": {None: (Deed.SWITCH_ON, Deed.SWITCH_OFF)},
    "pulse_off": {None: (Deed.SWITCH_OFF, Deed.SWITCH_ON)},
    "hex_frame": {None: (Deed.SWITCH_ON,)},
    "release_valve": {None: (Deed.VALVE_OPEN,)},
    "recharge": {None: (Deed.RECHARGE,)},
    "open_account": {None: (Deed.RECHARGE,)},
    "add_tasks": {None: (Deed.VALVE_CLOSE,)},
    "update_task": {None: (Deed.VALVE_CLOSE,)},
    "update_tasks": {None: (Deed.VALVE_CLOSE,)},
}


@every_vendor
async def test_what_switches_or_recharges_says_so_to_the_interlocks(name: str) -> None:
    async with World(name) as world:
        for _device, spec, row in world.commands(await world.devices()):
            for example in row.examples:
                acts = spec.acts(spec.params.model_validate_json(dumps(example)))
                wanted = ACTS.get(spec.name, {}).get(example.get("state"), ())
                assert tuple(act.deed for act in acts) == wanted, spec.name
                assert all((act.amount is not None) == (act.deed is Deed.RECHARGE) for act in acts)


@every_vendor
async def test_a_command_of_the_account_names_the_devices_that_it_changes(name: str) -> None:
    async with World(name) as world:
        for device, spec, row in world.commands(await world.devices()):
            for example in row.examples if device is None and spec.writes else ():
                named = [example.get("device_sn"), example.get("plant_id"), example.get("target_comm_no")]
                named += [task["target_comm_no"] for task in example.get("tasks", ())]
                wanted = [str(one) for one in named if one is not None]
                targets = spec.targets(spec.params.model_validate_json(dumps(example)))
                assert targets is None if spec.name == "retry_tasks" else list(targets or ()) == wanted, (
                    spec.name
                )


@every_vendor
async def test_a_preview_shows_the_request_without_secrets_and_sends_nothing(name: str) -> None:
    async with World(name) as world:
        orders = [
            world.order(device, spec, example)
            for device, spec, row in world.commands(await world.devices())
            for example in row.examples
        ]
        before = len(world.recorder.requests)
        shown = 0
        refused: list[str] = []
        for order in orders:
            try:
                preview = world.adapter.preview(order)
            except (Rejection, VendorError) as error:
                refused.append(f"{error!r}{error}")
                continue
            shown += 1
            text = json.dumps(
                [
                    preview.method,
                    preview.url,
                    dict(preview.headers),
                    loads(dumps([preview.body, preview.explain])),
                ],
                default=str,
            )
            assert preview.method
            assert preview.url.startswith("http")
            assert not [secret for secret in world.case.secrets if secret in text + repr(preview)], (
                order.spec.name
            )
        assert shown
        assert not [secret for secret in world.case.secrets if secret in str(refused)]
        assert len(world.recorder.requests) == before


@every_vendor
async def test_reading_from_the_simulated_cloud_succeeds_and_announces_nothing_that_changes(
    name: str,
) -> None:
    async with World(name) as world:
        for device, spec, row in world.commands(await world.devices()):
            if spec.name != "refresh_inventory":
                continue
            outcome = await world.adapter.execute(world.order(device, spec, row.examples[0]), world.effect)
            assert outcome.status.value == "succeeded"
            assert outcome.result["devices"] >= 1
            assert world.effect.count == 0


@every_vendor
async def test_what_a_read_command_sees_says_that_a_command_asked_for_it(name: str) -> None:
    async with World(name) as world:
        seen: list[Observation] = []
        for device, spec, row in world.commands(await world.devices()):
            if spec.name == "read":
                order = world.order(device, spec, row.examples[0])
                outcome = await world.adapter.execute(order, world.effect)
                if outcome.status is Status.SENT:
                    await world.clock.sleep(60)
                    outcome = await world.adapter.probe(order) or outcome
                seen += outcome.observations
        told = [one for one in seen if not isinstance(one, Described)]
        assert told
        assert {one.origin for one in told} <= {Origin.COMMAND}


class Refusing:
    """An effect that must not happen any more."""

    left = False

    async def leaving(self, request: Any = None) -> None:
        raise Withdrawn("locked")


@every_vendor
async def test_what_changes_something_leaves_only_after_it_was_said(name: str) -> None:
    """The order that at-most-once rests on: where `leaving` refuses, nothing takes effect in the cloud."""
    async with World(name) as world:
        devices = await world.devices()
        for device, spec, row in world.commands(devices):
            if not spec.writes:
                continue
            with pytest.raises((Withdrawn, VendorError, Rejection)):
                await world.adapter.execute(world.order(device, spec, row.examples[0]), Refusing())
        effects = world.cloud.ledger.counts().keys() - {"login"}
        assert not effects, "something took effect although it was not to leave"


# ruins ----------------------------------------------------------------------------------------------------------------


@every_vendor
@pytest.mark.parametrize("ruin", RUINS)
async def test_a_cloud_in_ruins_is_told_as_what_it_means(name: str, ruin: str) -> None:
    answer, usual = RUINS[ruin]
    expected = CASES[name].meanings.get(ruin, usual)
    async with World(name) as world:
        devices = await world.devices()
        world.ruin(answer)
        raised = await world.failures(devices)
        assert any(isinstance(error, expected) for error in raised)
        # a call that needed a token first, and got none, was not sent
        assert {type(error) for error in raised if not isinstance(error, expected | NotSent)} == set()
        assert all(isinstance(error, VendorError) and error.message for error in raised)


@every_vendor
@pytest.mark.parametrize("ruin", RUINS)
async def test_a_reading_from_a_cloud_in_ruins_fails(name: str, ruin: str) -> None:
    answer, usual = RUINS[ruin]
    expected = CASES[name].meanings.get(ruin, usual)
    async with World(name) as world:
        readable = [one for one in await world.devices() if "read" in world.adapter.commands(one)]
        device, spec = readable[0], world.adapter.commands(readable[0])["read"]
        world.ruin(answer)
        with pytest.raises(expected):
            await world.adapter.execute(world.order(device, spec, {}), world.effect)


def echoed(status: int) -> Any:
    """A cloud that sends back all that it was sent, as some do in their error messages."""

    def answer(request: httpx.Request) -> tuple[int, bytes]:
        everything = f"{request.url} {dict(request.headers)} {request.content!r}"
        document = {"code": 1003, "msg": everything, "message": everything, "error_msg": everything}
        more = {
            "error_code": 7,
            "Message": everything,
            "State": "failed",
            "successful": False,
            "data": everything,
        }
        return status, json.dumps({**document, **more}).encode()

    return answer


ECHOES = {
    **{ruin: answer for ruin, (answer, _) in RUINS.items()},
    **{f"echo {status}": echoed(status) for status in (200, 400, 401, 403, 404, 429, 500)},
}


@every_vendor
@pytest.mark.parametrize("ruin", ECHOES)
@pytest.mark.parametrize("logged_in", [False, True])
async def test_no_error_and_no_log_line_holds_a_secret(
    name: str, ruin: str, logged_in: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with World(name) as well:
        devices = await well.devices()
    caplog.set_level("DEBUG", "bridge")
    async with World(name) as world:
        if logged_in:
            await world.devices()
        world.ruin(ECHOES[ruin])
        raised = await world.failures(devices)
        texts = [
            f"{error!r}\n{error}\n{vars(error)}\n{''.join(traceback.format_exception(error))}"
            for error in raised
        ]
        texts += [
            f"{line.getMessage()} {vars(line)}" for line in caplog.records if line.name.startswith("bridge")
        ]
        assert raised
        assert not [text for text in texts for secret in world.case.secrets if secret in text]
