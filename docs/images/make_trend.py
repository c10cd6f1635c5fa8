"""Take the picture of the trend page: ten years of simulated darks in headless Chromium.

Usage: python docs/images/make_trend.py PICTURE.png
"""

import shutil
import sys
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from benchmarks.trend import make_page


def main(picture: str) -> None:
    """Open a page in a window of 1400 pixels, and save what a person sees first."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    size = {"width": 1400, "height": 1150, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "trend.html")
        page.write_text(make_page(1200), encoding="utf-8")
        driver.get(page.as_uri())
        WebDriverWait(driver, 60).until(
            lambda _: driver.execute_script("return document.documentElement.dataset.ready")
        )
        driver.save_screenshot(picture)
    driver.quit()


if __name__ == "__main__":
    main(*sys.argv[1:])
