"""The rate limits of an account: its vendor's, lowered by the account's own `limits`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from bridge.config.mistakes import suggestion
from bridge.domain.quantity import duration_text
from bridge.pace.limits import Limit, Window
from bridge.vendorkit.settings import AccountSettings
from bridge.vendorkit.spec import VendorSpec


def effective_limits(settings: AccountSettings, spec: VendorSpec) -> tuple[Limit, ...]:
    """The vendor's limits for this account with the account's overrides in them.

    An override `count/period` takes the place of the window of the same length, or is added where there
    is none.
    """
    return tuple(_overridden(limit, settings.limits.get(limit.name)) for limit in spec.limits(settings))


class LimitMistake(NamedTuple):
    """What is wrong with the override of the limit `name`: the rate of a `known` limit, or the name."""

    name: str
    text: str
    known: bool


def limit_mistakes(settings: AccountSettings, spec: VendorSpec) -> list[LimitMistake]:
    """Overrides that name no limit of the vendor, or are above it without `limits_unsafe`."""
    limits = {limit.name: limit for limit in spec.limits(settings)}
    mistakes = []
    for name, rate in settings.limits.items():
        if name not in limits:
            hint = suggestion(name, list(limits))
            text = f"expected the name of a limit of {settings.vendor}; {hint}"
            mistakes.append(LimitMistake(name, text, known=False))
        elif not settings.limits_unsafe and (window := _exceeded(limits[name], rate)) is not None:
            mistakes.append(LimitMistake(name, _above(limits[name], window), known=True))
    return mistakes


def sure_limit_mistakes(
    value: Mapping[str, object], spec: VendorSpec, context: Mapping[str, object]
) -> list[LimitMistake]:
    """The same of an account that has other mistakes, as it stands in the file: what is wrong whatever is meant by
    the keys that cannot be read."""
    known, unclear = _readable(spec.settings, value, context)
    # a key that cannot be read may be there or not: what holds both ways is sure
    both = [
        limit_mistakes(spec.settings.model_construct(**known, **dict.fromkeys(unclear, meant)), spec)
        for meant in (None, True)
    ]
    others = {(mistake.name, mistake.known) for mistake in both[1]}
    return [mistake for mistake in both[0] if (mistake.name, mistake.known) in others]


def _readable(
    model: type[AccountSettings], value: Mapping[str, object], context: Mapping[str, object]
) -> tuple[dict[str, Any], list[str]]:
    """The fields that can be read each for itself, or are not written, and the names of the others."""
    known: dict[str, Any] = {}
    unclear = []
    for name, field in model.model_fields.items():
        if name == "limits":
            known[name] = _rates(value.get(name))
        elif name in value:
            kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            try:
                known[name] = TypeAdapter(kind).validate_python(value[name], context=dict(context))
            except ValidationError:
                unclear.append(name)
        elif field.is_required():
            unclear.append(name)
        else:
            known[name] = field.get_default(call_default_factory=True)
    return known, unclear


def _rates(written: object) -> dict[str, str]:
    """The overrides that are rates; the others have been told of."""
    rates = {}
    for name, text in written.items() if isinstance(written, dict) else ():
        try:
            AccountSettings.rate(text)
        except (ValueError, TypeError):
            continue
        rates[name] = text
    return rates


def _overridden(limit: Limit, text: str | None) -> Limit:
    if text is None:
        return limit
    own = Window(*AccountSettings.rate(text))
    if any(window.seconds == own.seconds for window in limit.windows):
        return replace(
            limit,
            windows=tuple(own if window.seconds == own.seconds else window for window in limit.windows),
        )
    return replace(limit, windows=(*limit.windows, own))


def _exceeded(limit: Limit, text: str) -> Window | None:
    count, seconds = AccountSettings.rate(text)
    same = (window for window in limit.windows if window.seconds == seconds)
    return next((window for window in same if count > window.count), None)


def _above(limit: Limit, window: Window) -> str:
    whose = (
        "the vendor's limit"
        if limit.documented
        else "the gateway's own caution, as the vendor names no limit"
    )
    most = f"{window.count}/{duration_text(window.seconds)}"
    return f"expected at most {most}, {whose}, unless limits_unsafe is true"
