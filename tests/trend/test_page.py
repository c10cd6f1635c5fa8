"""The trend page, as a person uses it in a browser."""

import json
import re
from dataclasses import replace

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from soxspipe.trend import MapComparison, PixelChange, TrendProduct, TrendValue, trend_page

from . import records

#: Text of the tooltips that are shown.
TOOLTIPS = """
return [...document.querySelectorAll('.bk-Tooltip')]
  .map((one) => one.shadowRoot.querySelector('.bk-tooltip-content').textContent).join(' ');
"""
#: Place of a product in the view of the browser.
PLACE = """
const plot = trendDoc.get_model_by_name("value"), view = Bokeh.index.find_one(plot);
view.el.scrollIntoView({block: "center"});
const box = view.canvas_view.el.getBoundingClientRect(), source = trendDoc.get_model_by_name("products").data;
const i = source.file.indexOf(arguments[0]);
return [box.x + view.frame.x_scale.compute(source.time[i]), box.y + view.frame.y_scale.compute(source.y[i])];
"""


@pytest.fixture(scope="module")
def decade():
    return records.products(300)


@pytest.fixture(scope="module")
def path(tmp_path_factory, decade):
    folder = tmp_path_factory.mktemp("trend")
    changes, comparisons = records.changes(decade, 100)
    text = trend_page(
        decade, changes=changes, comparisons=comparisons, histograms=records.histograms(decade, 20), made="today"
    )
    (folder / "trend.html").write_text(text, encoding="utf-8")
    (folder / "reduced").mkdir()
    for product in decade:
        (folder / product.report).write_text("<title>report</title>")
    return folder / "trend.html"


def open_page(browser, path, width=1400):
    browser.open(path, width)
    WebDriverWait(browser.driver, 60).until(lambda _: browser.js("return document.documentElement.dataset.ready"))


@pytest.fixture
def page(browser, path):
    """Return a browser with the page; no action of the test may have led to a message in the console or a request."""
    browser.prefer("light")
    open_page(browser, path)
    yield browser
    assert browser.complaints() == []
    assert browser.requests() == []


def element(page, name):
    return page.driver.find_element(By.ID, name)


def caption(page, name="caption"):
    return element(page, name).text


def choose(page, name, text):
    Select(element(page, name)).select_by_visible_text(text)


def box(page, words):
    return page.driver.find_element(By.CSS_SELECTOR, f"#dimensions input[value='{words}']")


def files(page):
    return [cell.text for cell in page.driver.find_elements(By.CSS_SELECTOR, "#products td:nth-child(2)")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_opens_without_a_complaint_or_a_request(browser, path, width, scheme):
    browser.prefer(scheme)
    open_page(browser, path, width)
    assert browser.js("return document.documentElement.scrollWidth") <= width
    assert browser.js("return document.documentElement.dataset.theme") == scheme
    assert browser.complaints() == []
    assert browser.requests() == []
    assert "300 products: 292 PASS, 8 WARN. Latest: SOXS NIR" in caption(browser, "summary")


def test_the_products_after_a_step_are_named_as_outliers(page, decade):
    assert element(page, "figure").get_attribute("value") == "RON RAW"
    after = [one for one in decade if one.values["RON RAW"].value > 7.9 and one.arm == "NIR" and one.exptime_s == 300.0]
    names = [one.path.rpartition("/")[2] for one in after]
    found = files(page)
    assert found == names[: len(found)][::-1]
    assert len(found) in (15, 16)
    assert f"{len(found)} outliers" in caption(page)
    label = [one for one in page.js("return trendDoc.get_model_by_name('outliers').data.label") if one]
    assert label == [f"{names[0].partition('_')[0]} and {len(found) - 1} more"]


def test_hovering_shows_file_and_verdict(page, decade):
    product = decade[152]
    name = product.path.rpartition("/")[2]
    x, y = map(round, page.js(PLACE, name))
    assert name not in page.js(TOOLTIPS)
    move = ActionBuilder(page.driver)
    move.pointer_action.move_to_location(x - 20, y + 20).move_to_location(x, y)
    move.perform()
    WebDriverWait(page.driver, 20).until(lambda _: name in page.js(TOOLTIPS))
    shown = page.js(TOOLTIPS)
    assert "verdict: PASS" in shown
    assert "range: 3 to 20" in shown
    assert "SOXS NIR, soxs_mdark, 300 s, mode 1" in shown


def test_a_click_opens_the_report(page, decade):
    product = decade[152]
    x, y = map(round, page.js(PLACE, product.path.rpartition("/")[2]))
    windows = set(page.driver.window_handles)
    click = ActionBuilder(page.driver)
    click.pointer_action.move_to_location(x, y).click()
    click.perform()
    WebDriverWait(page.driver, 20).until(lambda driver: len(driver.window_handles) > len(windows))
    first = page.driver.current_window_handle
    (new,) = set(page.driver.window_handles) - windows
    page.driver.switch_to.window(new)
    try:
        assert page.driver.current_url.endswith(product.report)
        assert page.driver.title == "report"
    finally:
        page.driver.close()
        page.driver.switch_to.window(first)


def test_filters_leave_out_products(page):
    assert "300 products" in caption(page)
    box(page, "SOXS VIS").click()
    assert "200 products" in caption(page)
    box(page, "300 s").click()
    assert "150 products" in caption(page)
    page.js(
        "const d = document.getElementById('from'); d.value = '2021-01-01'; "
        "d.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    number = int(re.match(r"\d+", caption(page))[0])
    assert 70 < number < 80
    assert page.js("return trendDoc.get_model_by_name('products').data.time.length") == number
    assert (
        page.js("return new Date(Math.min(...trendDoc.get_model_by_name('products').data.time)).getUTCFullYear()")
        == 2021
    )
    for words in ("10 s", "60 s", "600 s", "3600 s"):
        box(page, words).click()
    assert caption(page) == "No product has this value with these filters."
    element(page, "reset").click()
    assert "300 products" in caption(page)


def test_verdict_and_read_mode_are_filters_too(page):
    box(page, "PASS").click()
    assert "8 products" in caption(page)
    box(page, "mode 1").click()
    assert int(re.match(r"\d+", caption(page))[0]) < 8


def test_another_figure_has_its_unit_its_errors_and_its_ranges(page, decade):
    choose(page, "figure", "DARK CURRENT (electron/s)")
    assert page.js("return trendDoc.get_model_by_name('value').left[0].axis_label") == "DARK CURRENT (electron/s)"
    assert "Bars: DARK CURRENT ERR" in caption(page, "words")
    low, high, y = page.js(
        "const d = trendDoc.get_model_by_name('products').data; return [d.low[0], d.high[0], d.y[0]]"
    )
    error = decade[0].values["DARK CURRENT ERR"].value
    assert (high - low) / 2 == pytest.approx(error, rel=1e-5)
    assert y == pytest.approx(decade[0].values["DARK CURRENT"].value, rel=1e-6)
    assert sorted(page.js("return trendDoc.get_model_by_name('ranges').data.top")) == pytest.approx([0.00012, 0.005])
    assert page.js("return location.hash") == "#DARK%20CURRENT"


def test_values_out_of_their_range_are_listed(page, decade):
    choose(page, "figure", "PULL STD")
    out = [one for one in decade if not 0.95 <= one.values["PULL STD"].value <= 1.05]
    assert f"{len(out)} values out of their range" in caption(page)


def test_the_list_of_all_products_has_pages_with_links_to_reports(page, decade):
    choose(page, "listed", "all products shown")
    newest = [one.path.rpartition("/")[2] for one in decade[::-1]]
    assert files(page) == newest[:25]
    element(page, "older").click()
    assert files(page) == newest[25:50]
    assert caption(page, "rows") == "26 to 50 of 300"
    link = page.driver.find_element(By.CSS_SELECTOR, "#products a")
    assert link.get_attribute("href").endswith(decade[-26].report)


def test_temperature_is_next_to_the_figure(page, decade):
    page.driver.find_element(By.CSS_SELECTOR, "#dimensions input[value='SOXS VIS']").click()
    found = page.js("return [trendDoc.get_model_by_name('temperature').left[0].axis_label, "
                    "Array.from(trendDoc.get_model_by_name('products').data.cold.slice(0, 4))]")  # fmt: skip
    assert found == ["temperature (K)", pytest.approx([one.temperature_k for one in decade[:4]], rel=1e-6)]
    assert page.js(
        "return trendDoc.get_model_by_name('value').x_range === trendDoc.get_model_by_name('temperature').x_range"
    )


def test_the_theme_switches_page_and_plots(page):
    def colors():
        page_color = page.js("return getComputedStyle(document.body).backgroundColor")
        names = "['value', 'map', 'cdf']"
        return page_color, *(page.js(f"return documents.map((one, i) => one.get_model_by_name({names}[i])"
                                     ".background_fill_color)"))  # fmt: skip

    light = colors()
    assert light == ("rgb(255, 255, 255)", "#ffffff", "#ffffff", "#ffffff")
    element(page, "theme").click()
    assert colors() == ("rgb(20, 24, 29)", "#14181d", "#14181d", "#14181d")
    assert element(page, "theme").text == "Light theme"
    element(page, "theme").click()
    assert colors() == light
    assert element(page, "theme").text == "Dark theme"


def test_births_of_one_date_have_a_bar_with_dates(browser, tmp_path):
    # its ticks were microseconds
    nights = [
        TrendProduct(
            path=f"n{i}.fits", recipe="soxs_mdark", instrument="SOXS", arm="NIR", mjd=61100.0 + i, exptime_s=300.0,
            verdict="PASS", values={"RON RAW": TrendValue(7.5)},
        )
        for i in range(2)
    ]  # fmt: skip
    change = PixelChange("n1.fits", 5, 6, "birth", 10.0)
    comparison = MapComparison("n1.fits", 0.1)
    path = tmp_path / "trend.html"
    path.write_text(trend_page(nights, changes=[change], comparisons=[comparison]), encoding="utf-8")
    open_page(browser, path)
    low, high = browser.js(
        "const bar = documents.map((one) => one.get_model_by_name('dates')).find(Boolean); return [bar.low, bar.high]"
    )
    assert high - low == 86_400_000


def test_the_keyboard_reaches_every_control(page):
    element(page, "theme").send_keys(Keys.TAB)
    assert page.driver.switch_to.active_element.get_attribute("id") == "figure"
    before = element(page, "figure").get_attribute("value")
    ActionChains(page.driver).send_keys(Keys.ARROW_DOWN).perform()
    after = element(page, "figure").get_attribute("value")
    assert after != before
    assert page.js("return trendDoc.get_model_by_name('value').left[0].axis_label").startswith(after)
    element(page, "reset").send_keys(Keys.TAB + Keys.SPACE)
    assert not box(page, "SOXS NIR").is_selected()
    assert "100 products" in caption(page)


def test_plots_and_controls_have_names_for_screen_readers(page):
    assert "RON RAW against date. 300 products" in element(page, "trend").get_attribute("aria-label")
    unnamed = page.js("return [...document.querySelectorAll('input, select, button')].filter((one) => "
                      "!(one.labels?.length || one.textContent.trim())).map((one) => one.id)")  # fmt: skip
    assert unnamed == []


def test_the_map_shows_births_until_a_date_with_the_expected_false_ones(page):
    text = caption(page, "map-caption")
    births, deaths = map(int, re.findall(r"(\d+) (?:births|deaths)", text))
    assert births + deaths == 100
    assert "49 comparisons" in text
    assert "Expected false: 0.98" in text
    element(page, "deaths").click()
    assert page.js("return documents[1].get_model_by_name('changes').data.x.length") == births
    element(page, "until").send_keys(Keys.HOME)
    assert "1 comparison " in caption(page, "map-caption")
    assert "Expected false: 0.02" in caption(page, "map-caption")
    assert page.js("return documents[1].get_model_by_name('changes').data.x.length") < births / 5


def test_a_pixel_that_rose_and_fell_twice_is_a_telegraph_pixel(browser, tmp_path):
    nights = [
        TrendProduct(f"n{i}.fits", "soxs_mdark", "SOXS", "NIR", 61100.0 + i, 300.0, verdict="PASS") for i in range(5)
    ]
    jumps = [PixelChange(f"n{i}.fits", 5, 6, "birth" if i % 2 else "death", 10.0) for i in range(1, 5)]
    birth = PixelChange("n1.fits", 6, 5, "birth", 10.0)
    comparisons = [MapComparison(one.path, 0.1) for one in nights[1:]]
    path = tmp_path / "trend.html"
    path.write_text(trend_page(nights, changes=[*jumps, birth], comparisons=comparisons), encoding="utf-8")
    open_page(browser, path)
    assert "1 birth, 0 deaths and 1 telegraph pixel in 4 comparisons" in caption(browser, "map-caption")
    kinds = "return documents.map((one) => one.get_model_by_name('changes')).find(Boolean).data.kind"
    assert sorted(browser.js(kinds)) == ["birth", *["telegraph"] * 4]
    element(browser, "telegraph").click()
    assert browser.js(kinds) == ["birth"]


def test_rates_of_any_two_dates_have_a_histogram_and_a_cdf(page):
    def data(letter):
        return page.js(
            f"const d = documents[2].get_model_by_name('rates {letter}').data; "
            "return [d.date[0], d.cdf.at(-1), d.count]"
        )

    date, last, counts = data("B")
    assert (last, sum(counts)) == (100, 40000)
    Select(element(page, "date-B")).select_by_index(3)
    assert data("B")[0] != date
    text = caption(page, "rates-caption")
    assert "median 0.002" in text
    assert "Histograms of 20 of the 300 products" in text
    end = page.js("return documents[2].get_model_by_name('histogram').x_range.end")
    element(page, "tail").click()
    assert page.js("return documents[2].get_model_by_name('histogram').x_range.end") > 3 * end


def test_text_of_headers_is_never_markup(browser, tmp_path):
    evil = "<img src=x onerror=alert(1)></script><b>"
    product = TrendProduct(evil, evil, evil, evil, 60000.0, 1.0, evil, evil, evil, (evil,), "javascript:alert(1)", 40.0,
                           values={evil: TrendValue(1.0, evil, 0.0, 2.0)})  # fmt: skip
    change = PixelChange(evil, 3, 4, "birth", 9.0)
    page = trend_page([product], changes=[change], comparisons=[MapComparison(evil, 0.1)], made=evil)
    (tmp_path / "evil.html").write_text(page, encoding="utf-8")
    open_page(browser, tmp_path / "evil.html")
    assert browser.js("return document.querySelectorAll('img, b').length") == 0
    choose(browser, "listed", "all products shown")
    assert (
        browser.js("return document.querySelector('#products a').getAttribute('href')") == "javascript%3Aalert%281%29"
    )
    assert browser.complaints() == []


@pytest.mark.parametrize("count", [0, 1])
def test_a_page_of_nothing_opens(browser, tmp_path, count):
    (tmp_path / "few.html").write_text(trend_page(records.products(count)), encoding="utf-8")
    open_page(browser, tmp_path / "few.html")
    assert browser.complaints() == []
    assert not element(browser, "map-section").is_displayed()
    assert not element(browser, "rates-section").is_displayed()


def test_values_that_were_not_measured_are_left_out(browser, tmp_path, decade):
    bare = [
        replace(one, temperature_k=None, exptime_s=None, values={**one.values, "NEW": TrendValue(None)})
        for one in decade[:12]
    ]
    text = trend_page(bare)
    (tmp_path / "bare.html").write_text(text, encoding="utf-8")
    open_page(browser, tmp_path / "bare.html")
    choose(browser, "figure", "COLDPIX NUM")
    assert "10 products" in caption(browser)
    assert browser.complaints() == []
    document = json.loads(re.search(r'id="page-data">(.*?)</script>', text)[1])
    assert "NEW" not in [one["name"] for one in document["data"]["figures"]]


@pytest.mark.slow
def test_ten_years_are_below_12_megabytes():
    decade = records.products(5000, amplifiers=32)
    changes, comparisons = records.changes(decade, 20000)
    text = trend_page(decade, changes=changes, comparisons=comparisons, histograms=records.histograms(decade, 300))
    assert len(text.encode()) < 12e6
