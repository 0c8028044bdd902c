"""Every error of the gateway, sorted by what is to be done about it.

BridgeError
├── ConfigError                the operator edits the configuration
├── VendorError                something between us and a vendor's cloud
│   ├── NotSent                the request never left: repeating it is harmless
│   ├── LostAnswer             it left and no usable answer came: the outcome is unknown
│   │   ├── BadReply           an answer came that cannot be read
│   │   └── DeviceSilent       the vendor's cloud answered, but its device did not
│   ├── RateLimited            the vendor refused for its limit: not processed, wait `retry_after_s`
│   ├── AuthFailed             the credentials are refused: stop asking, tell the operator
│   ├── DeviceOffline          the vendor says the device is not there
│   └── Refused                a final no, with the code for the acknowledgement
│       └── EndpointBarred     the account has no right to one end point: it is left alone, the rest goes on
├── Withdrawn                  a command must not leave any more (expired, cancelled, locked)
├── Rejection                  a command that is never executed, with the reason for its `rejected` ack
├── PushError                  a push that is not taken
│   ├── PushDenied             wrong secret, key or address: answered by status, nothing published
│   ├── PushMalformed          not readable at all: the sender should send it again
│   └── PushUnusable           readable but useless: kept as a dead letter, answered with success
└── StoreError                 the disk does not take it: nothing may be promised
    └── StoreInUse             another process has it
    └── SpoolFull              what is never shed fills the spool: nothing more is taken in until the broker takes some
"""

from __future__ import annotations

from typing import Any


class BridgeError(Exception):
    """Anything that meterbridge raises on purpose."""


class ConfigError(BridgeError):
    """The configuration is not usable. `problems` holds one line per mistake, ready to print."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class VendorError(BridgeError):
    """A call to a vendor did not succeed.

    `operation` is the endpoint's name, `native_code` what the vendor sent. The text never holds a secret.
    """

    def __init__(self, message: str, *, operation: str = "", native_code: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.native_code = native_code


class NotSent(VendorError):
    """The request did not leave this machine (no connection): the vendor cannot have acted on it."""


class LostAnswer(VendorError):
    """The request left and nobody knows what became of it: time-out, reset, HTTP 5xx, a vendor's own time-out code."""


class BadReply(LostAnswer):
    """An answer came, but it is not what the vendor's page describes. For a command that is as good as none."""


class DeviceSilent(LostAnswer):
    """The cloud is well, its device did not answer it in time: unknown outcome, no fault of the account."""


class RateLimited(VendorError):
    """The vendor's limit is used up and the call was not processed. Nothing may be asked for `retry_after_s`."""

    def __init__(
        self, message: str, *, retry_after_s: float, operation: str = "", native_code: Any = None
    ) -> None:
        super().__init__(message, operation=operation, native_code=native_code)
        self.retry_after_s = retry_after_s


class AuthFailed(VendorError):
    """The vendor refuses the credentials. Asking again does not help until somebody changes them."""


class DeviceOffline(VendorError):
    """The vendor says that the device is not connected; the command was not executed."""


class Refused(VendorError):
    """The vendor or the device said no. `code` is the acknowledgement's code (`domain.command.ACK_CODES`)."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "vendor_error",
        operation: str = "",
        native_code: Any = None,
        result: Any = None,
    ) -> None:
        super().__init__(message, operation=operation, native_code=native_code)
        self.code = code
        self.result = result


class EndpointBarred(Refused):
    """The account may not use the end point `operation`. It is left alone from now on; the operator should know."""


class Withdrawn(BridgeError):
    """Raised by `Effect.leaving`: the command ended (expired, cancelled, locked) before its request left."""


class Rejection(BridgeError):
    """A command message that is never executed. `code` is one of `domain.command.ACK_CODES`."""

    def __init__(self, code: str, message: str, *, result: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.result = result


class PushError(BridgeError):
    """A push that is not taken as it is."""


class PushDenied(PushError):
    """Not from whom we trust. `status` is the HTTP status: 404 secret, 401 key, 403 address, 429 too many wrong secrets
    (then not before `retry_after_s`). `what` is the word for it in the log."""

    def __init__(self, status: int, message: str, retry_after_s: float = 0.0, what: str = "key") -> None:
        super().__init__(message)
        self.status = status
        self.what = what
        self.retry_after_s = retry_after_s


class PushMalformed(PushError):
    """No JSON (or not what the vendor uses instead): perhaps damaged on the way, so the sender is told to repeat."""


class PushUnusable(PushError):
    """Well-formed, and useless: a field is missing or of the wrong kind, the device is excluded."""


class StoreError(BridgeError):
    """The store did not take a change: disk full, file locked, database damaged. Nothing was changed."""


class SpoolFull(StoreError):
    """The spool holds as much as it may of what is never shed: the sender has to keep it and come again."""


class StoreInUse(StoreError):
    """Another process has taken the store: a gateway, or a verb that works in its place."""
