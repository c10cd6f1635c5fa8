"""The time that a trend page of ten years takes to open: ``python -m benchmarks.trend [PRODUCTS]``.

Prints the size of the page, the time to make it, and from five starts of headless Chromium the time from the beginning
of the navigation to the first plot on the screen, and to all three. Needs Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from soxspipe.trend import trend_page
from tests.trend import records

STARTS = 5
PATIENCE_S = 60
#: Bounds of the page.
MOST_BYTES, MOST_MS = 12e6, 2000


def make_page(count: int) -> str:
    """Return a page of products of ten years, with their amplifiers, changed pixels and histograms."""
    products = records.products(count, amplifiers=32)
    changes, comparisons = records.changes(products, 4 * count)
    histograms = records.histograms(products, 400)
    start = time.perf_counter()
    text = trend_page(products, changes=changes, comparisons=comparisons, histograms=histograms)
    print(f"{count} products, {len(changes)} changed pixels, {len(histograms)} histograms")
    print(f"made in            {time.perf_counter() - start:8.1f} s")
    return text


def opening_times(page: Path) -> tuple[int, int]:
    """Return when the first plot and all plots are there in a browser that was just started, millisecond."""
    from selenium import webdriver
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument("--window-size=1400,1000")
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.get(page.as_uri())
        data = "return document.documentElement.dataset"
        WebDriverWait(driver, PATIENCE_S).until(lambda _: driver.execute_script(f"{data}.ready"))
        return tuple(int(driver.execute_script(f"{data}.{name}")) for name in ("firstPlot", "ready"))  # type: ignore[return-value]
    finally:
        driver.quit()


def main() -> int:
    """Measure, print and return 1 where the page is too large or too slow."""
    text = make_page(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "trend.html")
        page.write_text(text, encoding="utf-8")
        size = page.stat().st_size
        first, ready = zip(*(opening_times(page) for _ in range(STARTS)), strict=True)
    print(f"size               {size / 1e6:8.2f} MB (at most {MOST_BYTES / 1e6:g})")
    for name, times in (("first plot after", first), ("all plots after", ready)):
        print(f"{name:18} {statistics.median(times):8.0f} ms ({min(times)} to {max(times)})")
    return int(size > MOST_BYTES or statistics.median(first) > MOST_MS)


if __name__ == "__main__":
    sys.exit(main())
