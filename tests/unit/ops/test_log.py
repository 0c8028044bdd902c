"""Every line of the log is readable by machines and holds no secret, however it got there."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Callable, Iterator
from decimal import Decimal
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.ops.log import MASK, Redactor, set_up

SECRET = 'FAKE/FAKE+FAKE FAKE"FAKE\\FAKEöFAKE&FAKE=FAKE\tFAKE'

Lines = Callable[[], list[str]]


@pytest.fixture
def redactor() -> Redactor:
    made = Redactor()
    made.add([SECRET])
    return made


@pytest.fixture(params=["json", "text"])
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.contextmanager
def preserved() -> Iterator[None]:
    """Logging is as it was afterwards."""
    names = ("", "bridge", "bridge.mqtt.client", "httpx", "httpcore")
    levels = {name: logging.getLogger(name).level for name in names}
    handlers = list(logging.getLogger().handlers)
    try:
        yield
    finally:
        logging.getLogger().handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@pytest.fixture
def own_logging() -> Iterator[None]:
    with preserved():
        yield


@pytest.fixture
def lines(redactor: Redactor, style: str, own_logging: None) -> Lines:
    stream = io.StringIO()
    set_up("debug", style, redactor, stream)
    return lambda: stream.getvalue().rstrip("\n").split("\n")


@pytest.fixture
def json_lines(redactor: Redactor, own_logging: None) -> Lines:
    stream = io.StringIO()
    set_up("debug", "json", redactor, stream)
    return lambda: stream.getvalue().rstrip("\n").split("\n")


LOG = logging.getLogger("bridge.test")

FORMS = {
    "plain": SECRET,
    "inside": f"a{SECRET}b",
    "url": f"https://host/x?token={quote(SECRET, safe='')}&y=1",
    "url path": f"/push/{quote(SECRET)}/x",
    "form": f"password={quote_plus(SECRET)}",
    "json": json.dumps({"password": SECRET}),
    "json utf-8": json.dumps({"password": SECRET}, ensure_ascii=False),
    "repr": repr(SECRET),
    "repr of bytes": repr(SECRET.encode()),
    "dictionary": str({"password": SECRET}),
}


def leaks(text: str) -> bool:
    """Whether a part of the secret is left: in every writing of it these letters stay as they are."""
    return "FAKE" in text


@pytest.mark.parametrize("form", FORMS)
def test_secret_is_masked_in_messages(lines: Lines, form: str):
    LOG.info(FORMS[form])
    LOG.info("answer: %s", FORMS[form])
    assert len(lines()) == 2
    for line in lines():
        assert MASK in line
        assert not leaks(line)


@pytest.mark.parametrize("form", FORMS)
def test_secret_is_masked_in_fields_and_what_they_hold(lines: Lines, form: str):
    value = FORMS[form]
    nested = {"a": [value, {value: (value,)}], "b": {value}}
    LOG.info("x", extra={"field": value, "nested": nested, "error": ValueError(value)})
    (line,) = lines()
    assert line.count(MASK) >= 6
    assert not leaks(line)


@pytest.mark.parametrize("form", FORMS)
def test_secret_is_masked_in_exceptions(lines: Lines, form: str):
    try:
        try:
            raise KeyError(FORMS[form])
        except KeyError as error:
            raise ValueError(f"because of {FORMS[form]}") from error
    except ValueError:
        LOG.exception("failed")
    text = "\n".join(lines())
    assert "ValueError" in text
    assert text.count(MASK) >= 2
    assert not leaks(text)


def test_secret_that_comes_later_is_masked_from_then_on(lines: Lines, redactor: Redactor):
    LOG.info("token FAKETOKEN")
    redactor.add(["FAKETOKEN"])
    LOG.info("token FAKETOKEN")
    assert "FAKETOKEN" in lines()[0]
    assert "FAKETOKEN" not in lines()[1]


def test_longer_secret_is_masked_before_the_one_it_contains():
    redactor = Redactor()
    redactor.add(["abcd", "abcdefgh"])
    assert redactor.clean("abcdefgh abcd") == f"{MASK} {MASK}"


@pytest.mark.parametrize("short", ["", "a", "abc"])
def test_secret_too_short_to_hide_is_left_alone(short: str):
    redactor = Redactor()
    redactor.add([short])
    assert redactor.clean("an abc of words") == "an abc of words"


def test_secret_is_added_once():
    redactor = Redactor()
    for _ in range(3):
        redactor.add(["FAKE1234"])
    assert redactor.clean("FAKE1234") == MASK


def test_line_has_time_level_logger_event_and_fields(json_lines: Lines):
    LOG.warning(
        "mqtt.connected", extra={"protocol": "5", "n": 3, "ok": True, "none": None, "d": Decimal("1.50")}
    )
    (document,) = map(json.loads, json_lines())
    assert document.pop("ts").endswith("Z")
    assert document == {
        "level": "warning", "logger": "bridge.test", "event": "mqtt.connected", "protocol": "5", "n": 3,
        "ok": True, "none": None, "d": "1.50",
    }  # fmt: skip


@pytest.mark.parametrize("secret", ["true", "null", "1234", '"x":', "level", "{}{}", "false", "12.5"])
def test_line_stays_json_whatever_the_secret_is(json_lines: Lines, redactor: Redactor, secret: str):
    redactor.add([secret])
    LOG.info("e %s", secret, extra={"n": 1234, "f": 12.5, "t": True, "x": {secret: [None, secret, False]}})
    (document,) = map(json.loads, json_lines())
    assert document["level"] == "info"
    assert secret not in document["event"]
    assert secret not in json.dumps([document["x"], document["n"]]).replace("false", "").replace("null", "")


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), object(), b"\xff", {1: {(1, 2): 3}}, {"s"}, "a\nb\u2028", range(3)],
)
def test_line_stays_json_whatever_the_fields_are(json_lines: Lines, value: object):
    LOG.info("e", extra={"value": value})
    (line,) = json_lines()
    assert "value" in json.loads(line, parse_constant=pytest.fail)


def test_exception_is_one_line_with_its_traceback(json_lines: Lines):
    try:
        raise ZeroDivisionError("no\nway")
    except ZeroDivisionError:
        LOG.exception("failed")
    (document,) = map(json.loads, json_lines())
    assert "Traceback" in document["exception"]
    assert "no\nway" in document["exception"]


@given(st.text(), st.dictionaries(st.text(max_size=3), st.text() | st.integers() | st.floats(), max_size=3))
def test_any_text_makes_one_line_of_json(message: str, fields: dict[str, object]):
    with preserved():
        set_up("info", "json", Redactor(), io.StringIO())
        (handler,) = logging.getLogger().handlers
    record = logging.LogRecord("bridge", logging.INFO, "", 0, message, (), None)
    record.fields = fields
    text = handler.format(record)
    assert "\n" not in text
    assert json.loads(text)["event"] == message


@pytest.mark.parametrize(
    "value", ["a\nb", "\x1b[2J", "a\x9b31mb c", "\u202egnp", "\x7f", "\u2028", {"k": "a\r"}]
)
def test_line_of_text_is_one_printable_line_whatever_a_vendor_wrote(
    redactor: Redactor, own_logging: None, value: object
):
    stream = io.StringIO()
    set_up("info", "text", redactor, stream)
    logging.getLogger("bridge.test").info("vendor.said", extra={"reason": value})
    assert stream.getvalue()[:-1].isprintable()


def test_line_of_text_has_level_event_and_fields(redactor: Redactor, own_logging: None):
    stream = io.StringIO()
    set_up("info", "text", redactor, stream)
    LOG.warning("mqtt.connected", extra={"protocol": "5", "reason": "two words", "empty": ""})
    assert stream.getvalue()[8:] == ' warning mqtt.connected protocol=5 reason="two words" empty=""\n'


def test_only_our_own_messages_of_the_level_come_through(style: str, redactor: Redactor, own_logging: None):
    stream = io.StringIO()
    set_up("info", style, redactor, stream)
    logging.getLogger("bridge.a").debug("hidden1")
    logging.getLogger("bridge.a").info("shown1")
    logging.getLogger("other").info("hidden2")
    logging.getLogger("other").warning("shown2")
    logging.getLogger("httpx").info("hidden3")
    logging.getLogger("httpx").warning("hidden4")
    logging.getLogger("bridge.mqtt.client").warning("hidden5")
    assert "hidden" not in stream.getvalue()
    assert stream.getvalue().count("shown") == 2
    assert len(logging.getLogger().handlers) == 1
