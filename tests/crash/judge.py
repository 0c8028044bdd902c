"""Holds the gateway's acknowledgements against the cloud's ledger: was anything executed that must not have been?

Per device, commands are carried out one after the other in the order in which they were sent. So the ledger of a
device must be a row of executions that its commands, in order, explain: each as often as its end and its kind allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

Deed = tuple[str, str]
"""(effect, detail) of a ledger entry, the detail without the note whether anything changed."""

ONCE = frozenset({"switched_on", "pulse_on", "pulse_off", "restart"})
"""What must never happen twice for one `id`; everything else may be repeated once after a lost answer."""

LASTING = {
    "switched_on": ("switch", "on"),
    "switched_off": ("switch", "off"),
    "retain_set": ("retain", None),
}
"""Effects whose end state can be read back: asked for what is so already, they may succeed without an execution."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A command: what it does at the device (None: nothing, it is to be rejected) and the end it came to."""

    id: str
    deed: Deed | None
    status: str


def unexplained(sent: Sequence[Sent], ledger: Sequence[Deed], state: dict[str, str] | None = None) -> str:
    """Why the ledger of one device cannot be explained by the commands, or an empty text. `state`: the lasting state
    at the beginning (`switch`, `retain`)."""
    start = tuple(sorted((state or {}).items()))
    farthest = 0

    @cache
    def fits(command: int, entry: int, now: tuple[tuple[str, str], ...]) -> bool:
        nonlocal farthest
        farthest = max(farthest, entry)
        if command == len(sent):
            return entry == len(ledger)
        one = sent[command]
        for count in _counts(one, dict(now)):
            if [one.deed] * count != list(ledger[entry : entry + count]):
                break
            after = _after(one.deed, now) if count else now
            if fits(command + 1, entry + count, after):
                return True
        return False

    if fits(0, 0, start):
        return ""
    return f"explained up to entry {farthest} of {len(ledger)}: {list(ledger)[max(0, farthest - 3) :][:8]}"


def _counts(one: Sent, state: dict[str, str]) -> range:
    if one.deed is None or one.status in ("rejected", "expired", "cancelled"):
        return range(1)
    most = 1 if one.deed[0] in ONCE else 2
    needed = one.status == "succeeded" and not _so_already(one.deed, state)
    return range(int(needed), most + 1)


def _so_already(deed: Deed, state: dict[str, str]) -> bool:
    kind = LASTING.get(deed[0])
    return kind is not None and state.get(kind[0]) == (kind[1] or deed[1])


def _after(deed: Deed | None, state: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    kind = LASTING.get(deed[0]) if deed else None
    if deed is None or kind is None:
        return state
    return tuple(sorted({**dict(state), kind[0]: kind[1] or deed[1]}.items()))
