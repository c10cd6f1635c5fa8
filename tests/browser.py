"""A headless Chromium that opens pages of this machine, and what it has to say about them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


class Browser:
    """Chromium with helpers for tests; ``driver`` is selenium's WebDriver."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path: Path, width: int = 1400, height: int = 1000) -> None:
        """Open a file in a window of some size, and forget what was logged before."""
        self.resize(width, height)
        self.driver.get("about:blank")
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.driver.get(path.resolve().as_uri())

    def resize(self, width: int, height: int = 1000) -> None:
        """Set the size of the page's view, also to one that is narrower than a window can be."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, scheme: str) -> None:
        """Set the colour scheme that the system of the user prefers: ``'light'`` or ``'dark'``."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def js(self, script: str, *arguments):
        """Run a script in the page and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """Return what the console has logged since the page was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Return the addresses that the page asked for since it was opened, apart from itself and inline data."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        own = self.driver.current_url.partition("#")[0]
        return [
            url for url in sent if not url.startswith(("data:", "blob:", "about:")) and url.partition("#")[0] != own
        ]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return a browser; the test is skipped where Chromium or its driver is not installed."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium and chromedriver are not installed")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield Browser(driver)
    driver.quit()
