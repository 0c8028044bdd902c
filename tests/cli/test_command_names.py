"""The names that the configuration knows are those of the commands that there are."""

from __future__ import annotations

from bridge.cli.offers import offers
from bridge.domain.command_names import COMMAND_NAMES
from bridge.vendors import VENDORS


async def test_the_configuration_knows_the_name_of_every_command_and_no_other() -> None:
    there = await offers(VENDORS)
    assert {*there.device, *there.account, *there.gateway} == COMMAND_NAMES
