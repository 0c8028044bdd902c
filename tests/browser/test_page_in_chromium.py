"""The status page as people meet it: in a real browser, on a desk and on a phone, bright and dark."""

from __future__ import annotations

import httpx
import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.browser.window import Window
from tests.system.fixtures import DEVICES, MakeGateway
from tests.system.stage import HOST, PUSH_SECRET, Cloud, Gateway, Listener, free_port

pytestmark = pytest.mark.timeout(300)
D1, D2 = DEVICES[:2]
SHOP = "meterbridge/shop"
PASSWORD = "FAKE-page-password-0000"
NASTY = "<img src=x onerror=\"document.title='owned'\">"


def push(gateway: Gateway, cmd: str, **info: str) -> None:
    body = {"device_sn": D1, "cmd": cmd, "info": info}
    assert httpx.post(f"{gateway.web}/push/shop/{PUSH_SECRET}", json=body, trust_env=False).status_code == 200


@pytest.fixture
def gateway(make_gateway: MakeGateway, listener: Listener) -> Gateway:
    made = make_gateway(account={"devices": {"include": [D1, D2], "names": {D1: NASTY, D2: "Cold store"}}})
    listener.wait(f"{SHOP}/{D2}/state")
    return made


def test_page_is_live_without_a_foreign_request_or_a_complaint_of_the_browser(
    gateway: Gateway, window: Window
) -> None:
    window.open(gateway.web)
    window.find("#live", "live")
    window.find(".tile", "connected")
    window.find(".card[data-account=shop]", "online")
    window.find("#device-count", "2 devices")
    push(gateway, "power_report", total_electricity="4321.5")
    window.find("#device-list .row", "4321.5")
    push(gateway, "notify", notify_type="alarm", alarm_detail="overcurrent")
    window.find("#alarms .row", "overcurrent")
    window.find("#device-list .chip.bad", "overcurrent")
    assert window.told() == []
    own = f"{gateway.web}/"
    assert [url for url in window.asked() if not url.startswith((own, "data:", "about:", "chrome"))] == []


def test_what_others_wrote_is_text(gateway: Gateway, window: Window) -> None:
    window.open(gateway.web)
    window.click("#device-list .row", NASTY)
    window.find("dialog h2", NASTY)
    assert window.run("return document.title") == "meterbridge"
    assert window.run("return document.querySelectorAll('main img, dialog img').length") == 0


def test_devices_are_searched_and_filtered(gateway: Gateway, window: Window) -> None:
    window.open(gateway.web)
    window.find("#device-list .row", D1)
    window.find("#search").send_keys("cold")
    window.find("#device-count", "1 of 2 devices")
    window.soon(lambda: len(window.all("#device-list .row")) == 1, "the one that fits")
    window.find("#search").send_keys(Keys.CONTROL, "a")
    window.find("#search").send_keys("nothing like this")
    window.find("#device-list", "No device fits")


def test_device_has_an_address_of_its_own_and_back_closes_it(gateway: Gateway, window: Window) -> None:
    window.open(gateway.web)
    window.click("#device-list .row", "Cold store")
    window.find("dialog h2", "Cold store")
    window.find("dialog .metrics", "voltage")
    window.find("dialog summary", "commands over MQTT")
    assert window.run("return location.hash") == f"#device/shop/{D2}"
    window.driver.back()
    window.soon(lambda: not window.all("dialog"), "the dialog is closed")
    window.open(f"{gateway.web}/#device/shop/{D2}")
    window.find("dialog h2", "Cold store")
    window.open(f"{gateway.web}/#device/shop/%E0%A4%A")
    window.find("dialog", "does not know this")
    window.open(f"{gateway.web}/#device/shop/nobody")
    window.find("dialog", "does not know this")


@pytest.mark.parametrize("width", [360, 768, 1920])
def test_nothing_sticks_out_at_any_width(width: int, gateway: Gateway, window: Window) -> None:
    push(gateway, "notify", notify_type="alarm", alarm_detail="overcurrent")
    window.open(gateway.web, width, 800)
    window.find("#alarms .row", "overcurrent")
    wide = "return [document.documentElement.scrollWidth, window.innerWidth]"
    content, room = window.run(wide)
    assert content <= room
    window.click("#device-list .row", "Cold store")
    window.find("dialog .metrics", "voltage")
    inner, outer = window.run(
        "const d = document.querySelector('dialog'); return [d.scrollWidth, d.clientWidth]"
    )
    assert inner <= outer


def test_page_follows_the_systems_dark_mode(gateway: Gateway, window: Window) -> None:
    def brightness() -> int:
        colour = window.run("return getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))

    window.open(gateway.web)
    assert brightness() > 600
    window.open(gateway.web, dark=True)
    assert brightness() < 150


def test_breaker_is_switched_from_the_page_once_and_its_states_are_seen(
    make_gateway: MakeGateway, listener: Listener, cloud: Cloud, window: Window
) -> None:
    http = {"listen": f"{HOST}:{free_port()}", "page": "control", "page_password": PASSWORD}
    gateway = make_gateway(http=http)
    window.open(f"{gateway.web}/#device/shop/{D1}")
    window.find("#password").send_keys("wrong-password", Keys.ENTER)
    window.find("#login-trouble", "wrong password")
    window.find("#password").clear()
    window.find("#password").send_keys(PASSWORD, Keys.ENTER)
    window.click("dialog .offers button", "breaker")
    Select(window.find(".order select[name=state]")).select_by_value("off")
    window.click(".order button", "Dry run")
    window.find(".order pre", "***")
    assert cloud.effects(D1) == []
    window.click(".order button", "Send")
    window.find(".order .acts", "Send “breaker off” to")
    window.run("const b = document.querySelector('.order .danger'); b.click(); b.click();")
    window.find(".order .chip.good", "succeeded")
    steps = ["accepted", "dispatched", "succeeded"]
    window.soon(lambda: words(window.texts(".order .steps li")) == steps, "every step, in its order")
    assert cloud.effects(D1) == ["switched_off"]
    window.click("dialog button", "Close")
    window.click("#command-list .row", "breaker")
    window.find("dialog", "status page from 127.0.0.1")
    window.click("dialog button", "Close")
    window.click("#logout")
    window.find("#password")


def words(lines: list[str]) -> list[str]:
    """The first word of each."""
    return [line.split(" ")[0].rstrip(":") for line in lines]


def test_page_says_when_the_gateway_is_gone_and_comes_back_with_it(gateway: Gateway, window: Window) -> None:
    window.open(gateway.web)
    window.find("#live", "live")
    assert gateway.terminate()[0] == 0
    window.find("#live", "reconnecting")
    gateway.start()
    window.soon(lambda: window.find("#live").text == "live", "it is live again")
    window.find("#device-list .row", "Cold store")
