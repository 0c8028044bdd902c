"""A real browser window: Debian's Chromium, headless, with a profile of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium import webdriver
from selenium.common.exceptions import ElementClickInterceptedException, StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.system.polling import until

T = TypeVar("T")
WAIT_S = 30.0
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Window:
    """One window and what a person does in it."""

    def __init__(self, profile: Path) -> None:
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        self.driver.set_page_load_timeout(60)

    def open(self, url: str, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        """Opens an address in a window of this size, as nobody who was here before."""
        self.driver.get("about:blank")
        self.driver.delete_all_cookies()
        self.told()
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get(url)

    def find(self, css: str, holding: str = "") -> WebElement:
        """The first visible element that matches and holds this text, as soon as there is one."""
        return self.soon(
            lambda: next((e for e in self.all(css) if holding in e.text), None), f"{css} with {holding!r}"
        )

    def all(self, css: str) -> list[WebElement]:
        return [one for one in self.driver.find_elements(By.CSS_SELECTOR, css) if one.is_displayed()]

    def texts(self, css: str) -> list[str]:
        return [one.text for one in self.all(css)]

    def click(self, css: str, holding: str = "") -> None:
        """Clicks, also if the element is drawn anew at that moment."""

        def clicked() -> bool:
            found = self.find(css, holding)
            self.driver.execute_script(
                "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", found
            )
            found.click()
            return True

        self.soon(clicked, f"a click on {css}")

    def soon(self, look: Callable[[], T], what: str) -> T:
        def steady() -> T | None:
            try:
                return look()
            except (StaleElementReferenceException, ElementClickInterceptedException):
                return None

        found = until(steady, WAIT_S, what, self._seen)
        assert found is not None
        return found

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def told(self) -> list[str]:
        """What the console said since the last call, from warnings on."""
        log = self.driver.get_log("browser")  # type: ignore[no-untyped-call] # selenium's own has no types
        return [entry["message"] for entry in log if entry["level"] in ("WARNING", "SEVERE")]

    def asked(self) -> set[str]:
        """Every address that was asked for since the last call."""
        log = self.driver.get_log("performance")  # type: ignore[no-untyped-call] # as above
        messages = [json.loads(entry["message"])["message"] for entry in log]
        sent = [
            one["params"]["request"]["url"]
            for one in messages
            if one["method"] == "Network.requestWillBeSent"
        ]
        return set(sent)

    def _seen(self) -> str:
        return f"--- the page ---\n{self.run('return document.body.innerText')}\n{self.told()}"


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """One browser for a module; `open` begins anew."""
    made = Window(tmp_path_factory.mktemp("profile"))
    try:
        yield made
    finally:
        made.driver.quit()
