"""The names of all commands (CONTRACT section 6, METRICS section 4), for the lists of names in the configuration.

A name that is written wrong there would forbid nothing, or ask for no confirmation, without a word.
"""

from __future__ import annotations

from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator

_ALL = """
add_datalogger add_plant add_tasks add_user assign_plant backfill breaker cancel cancel_tasks delete_datalogger
delete_plant delete_task delete_tasks delete_user describe_task diagnostics gaps get_price get_recharge get_task
hex_frame history list_tasks lock modify_datalogger modify_plant modify_user offline_analysis online open_account
power_analysis pulse_off pulse_on read recharge refresh refresh_inventory register release_valve reload restart
retain_state retry retry_tasks set_alarms set_balance set_cumulant set_price set_protection unlock unregister
update_task update_tasks valve wifi_config
"""
COMMAND_NAMES = frozenset(_ALL.split())


def _name(text: str) -> str:
    if text not in COMMAND_NAMES:
        raise ValueError(f"expected the name of a command, such as breaker or recharge{_hint(text)}")
    return text


def _pattern(text: str) -> str:
    if not any(fnmatchcase(name, text) for name in COMMAND_NAMES):
        raise ValueError(f"expected a command's name, or a pattern such as set_* that fits one{_hint(text)}")
    return text


def _hint(text: str) -> str:
    near = get_close_matches(text, sorted(COMMAND_NAMES), 1)
    return f"; did you mean {near[0]}?" if near else ""


CommandName = Annotated[str, AfterValidator(_name)]
CommandPattern = Annotated[str, AfterValidator(_pattern)]
