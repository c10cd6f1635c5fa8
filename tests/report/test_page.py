"""Reports of real, small products, as text and in a browser."""

import json
import re
from html.parser import HTMLParser

import pytest
from astropy.io import fits
from matplotlib import rc_context

from soxspipe.exceptions import InputError
from soxspipe.products.product_files import REPORT_MARK
from soxspipe.report import make_report, write_report

NAMES = ["good", "leak", "out", "bias", "rate"]
SECTIONS = ["verdict", "figures", "images", "bad-pixels", "noise", "frames", "profiles", "provenance"]


class Page(HTMLParser):
    """The text of a page by the id of its section, and its elements."""

    def __init__(self, html):
        super().__init__()
        self.sections, self.elements, self._section = {}, [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "section":
            self._section = dict(attributes)["id"]

    def handle_data(self, data):
        self.sections[self._section] = self.sections.get(self._section, "") + " " + " ".join(data.split())


def read(product):
    return product.files["report"].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_one_of_the_files_of_a_product_and_can_be_made_again(name, products):
    product = products[name]
    assert product.files["report"] == product.path.with_suffix(".html")
    assert make_report(product.path) == read(product)
    assert product.files["report"].stat().st_size < 3e6
    assert list(Page(read(product)).sections)[1:] == SECTIONS


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_unique_and_all_references_have_one(name, products):
    elements = Page(read(products[name])).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = {value[1:] for _, one in elements for key, value in one.items() if key == "href" and value[:1] == "#"}
    references |= set(re.findall(r"url\(#([^)]+)\)", read(products[name])))
    assert references <= set(ids)


@pytest.mark.parametrize("name", NAMES)
def test_every_image_has_words_for_those_who_cannot_see_it(name, products):
    pictures = [one for _, one in Page(read(products[name])).elements if one.get("role") == "img"]
    assert len(pictures) > 8
    assert all(len(one["aria-label"]) > 20 for one in pictures)


def test_a_page_needs_no_latex(products, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with rc_context({"text.usetex": True}):
        assert list(Page(make_report(products["good"].path)).sections)[1:] == SECTIONS


def test_a_good_product_is_called_good_and_its_questions_are_answered(products):
    verdict = Page(read(products["good"])).sections["verdict"]
    values = {row["name"]: row["value"] for row in products["good"].qc}
    assert "PASS This master dark is good" in verdict
    assert f"{values['RON RAW']:.4g} electron in a single frame" in verdict
    assert f"{values['HOTPIX NUM']:,.0f} hot" in verdict
    assert "None: all 5 frames agree." in verdict
    assert "Nothing: use it." in verdict


def test_the_frame_with_a_light_leak_is_named_with_what_to_do(products):
    page = Page(read(products["leak"]))
    odd = "SOXS.2026-03-01T10-05-04.500.fits"
    assert f"Frame 2, {odd}: probably has a gradient" in page.sections["verdict"]
    assert f"Look at frame 2, {odd}. If it is bad, reduce again without it" in page.sections["verdict"]
    assert "probably has a gradient" in page.sections["frames"]


def test_the_odd_frame_and_the_advice_have_the_width_of_the_box(products, browser):
    browser.open(products["leak"].files["report"], 1200)
    widths = dict(
        browser.js("""return [...document.querySelectorAll(".answers > div")].map(
        (one) => [one.firstElementChild.textContent, one.clientWidth / one.parentElement.clientWidth])""")
    )
    assert widths["Which frame is odd?"] == widths["What should I do?"] == 1
    assert widths["What is the read noise?"] < 0.5


def test_a_figure_out_of_its_range_comes_first_with_advice(products):
    page = Page(read(products["out"]))
    assert "Do not use this master dark before you have checked it" in page.sections["verdict"]
    assert "(RON RAW)" in page.sections["verdict"]
    figures = page.sections["figures"]
    assert (
        figures.index("RON RAW")
        < figures.index("out of range")
        < figures.index("What to do:")
        < figures.index("in range")
    )


def test_bad_columns_have_close_ups(products):
    words = Page(read(products["leak"])).sections["bad-pixels"]
    column = int(re.search(r"Column X (\d+)", words)[1])
    codes = fits.getdata(products["leak"].path, "QUAL")
    assert (codes[:, column - 1] & 2048 > 0).sum() > 60


def test_the_levels_of_the_masters_are_in_the_page_of_a_rate_map(products):
    product = products["rate"]
    masters = json.loads(product.files["qc"].read_text())["masters"]
    assert sorted(master["exposure_s"] for master in masters) == [30.0, 100.0, 300.0]
    words = Page(read(product)).sections["frames"]
    assert all(master["name"] in words for master in masters)
    assert "Linearity of the level" in words


def test_what_a_header_holds_is_text_in_the_page(products, tmp_path):
    good = products["good"]
    with fits.open(good.path) as hdus:
        hdus[0].header["HIERARCH ESO PRO REC1 RAW1 NAME"] = "<script>alert(1)</script>"
        hdus.writeto(tmp_path / "a.fits", checksum=True)
    document = json.loads(good.files["qc"].read_text())
    document["warnings"] = ["</script><b>&"]
    (tmp_path / "a_qc.json").write_text(json.dumps(document))
    page = write_report(tmp_path / "a.fits").read_text()
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_report_is_written_again_over_an_older_one(products, tmp_path):
    good = products["good"]
    for role in ("product", "qc"):
        (tmp_path / good.files.get(role, good.path).name).write_bytes(good.files.get(role, good.path).read_bytes())
    path = tmp_path / good.path.name
    path.with_suffix(".html").write_bytes(REPORT_MARK)
    assert write_report(path) == path.with_suffix(".html")
    assert "<title>PASS: Master dark, SOXS NIR, 300 s</title>" in path.with_suffix(".html").read_text()


def test_what_is_no_product_is_refused_in_one_line(products, tmp_path):
    raw = tmp_path / "raw.fits"
    fits.PrimaryHDU([[1, 2], [3, 4]]).writeto(raw)
    with pytest.raises(InputError, match=r"raw.fits: is not a product of soxspipe .* give its main file"):
        make_report(raw)
    alone = tmp_path / products["good"].path.name
    alone.write_bytes(products["good"].path.read_bytes())
    with pytest.raises(InputError, match=r"has no .*_qc\.json beside it"):
        make_report(alone)
    alone.with_name(f"{alone.stem}_qc.json").write_text("[]")
    with pytest.raises(InputError, match="is no JSON object: damaged"):
        make_report(alone)


#: Elements that are wider than the page, apart from those that scroll.
WIDER = """
return [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > arguments[0] + 1
  && !one.parentElement.closest(".wide, nav, svg")).map((one) => `${one.tagName} ${one.textContent.slice(0, 60)}`);
"""


@pytest.mark.parametrize(
    ("keyword", "value", "change"),
    [("ESO QC CONAD", "much", {}), ("ESO PRO DATANCOM", "ten", {}), ("EXPTIME", "x", {}), ("OBJECT", "x", {"qc": [{}]}),
     ("OBJECT", "x", {"frames": [{"start": "today"}]}), ("OBJECT", "x", {"masters": [1]}),
     ("OBJECT", "x", {"histograms": {"pulls": {"counts": ["a"]}}})],
)  # fmt: skip
def test_a_header_or_record_that_makes_no_sense_is_an_error_in_one_line(keyword, value, change, products, tmp_path):
    good = products["good"]
    with fits.open(good.path) as hdus:
        hdus[0].header[keyword] = value
        hdus.writeto(tmp_path / "a.fits")
    document = json.loads(good.files["qc"].read_text()) | change
    (tmp_path / "a_qc.json").write_text(json.dumps(document))
    with pytest.raises(
        InputError, match=r"a(\.fits: its header, planes or record cannot be shown|_qc\.json: ).*reduce"
    ):
        make_report(tmp_path / "a.fits")


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("name", NAMES)
def test_a_browser_opens_the_page_without_complaint_or_request(name, width, products, browser):
    browser.open(products[name].files["report"], width)
    assert browser.js("return document.readyState") == "complete"
    assert browser.complaints() == []
    assert browser.requests() == []
    assert browser.js(WIDER, width) == []
    assert browser.js("return document.documentElement.scrollWidth") <= width
    for image in browser.driver.find_elements("css selector", "svg image"):
        assert browser.js("return arguments[0].getBoundingClientRect().width", image) > 10


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_button_switches_the_theme(scheme, products, browser):
    browser.prefer(scheme)
    browser.open(products["good"].files["report"])

    def ground():
        return browser.js("return getComputedStyle(document.body).backgroundColor")

    light, dark = "rgb(255, 255, 255)", "rgb(17, 22, 29)"
    button = browser.driver.find_element("id", "theme")
    assert ground() == (light if scheme == "light" else dark)
    button.click()
    assert ground() == (dark if scheme == "light" else light)
    button.click()
    assert ground() == (light if scheme == "light" else dark)
    browser.prefer("light")


#: Contrast of two colours as WCAG 2 defines it.
CONTRAST = """
const parse = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((value) => {
  const part = value / 255;
  return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
});
const light = (colour) => { const [r, g, b] = parse(colour); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ground = (one) => {
  for (; one; one = one.parentElement) {
    const colour = getComputedStyle(one).backgroundColor;
    if (!/, 0\\)$/.test(colour)) return colour;
  }
  return "rgb(255, 255, 255)";
};
return [...document.querySelectorAll("body *")].filter((one) => [...one.childNodes].some((node) =>
  node.nodeType === 3 && node.textContent.trim()) && one.checkVisibility() && !one.closest("script")).map((one) => {
  const style = getComputedStyle(one);
  const [a, b] = [light(one.closest("svg") ? style.fill : style.color), light(ground(one))];
  return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.textContent.trim().slice(0, 40)];
}).filter(([contrast]) => contrast < 4.5);
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_all_text_has_enough_contrast(name, scheme, products, browser):
    browser.prefer(scheme)
    browser.open(products[name].files["report"])
    browser.js("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert browser.js(CONTRAST) == []
    browser.prefer("light")


def test_the_keyboard_reaches_the_sections_and_opens_the_details(products, browser):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.open(products["good"].files["report"])

    def press(key):
        ActionChains(browser.driver).send_keys(key).perform()
        return browser.driver.switch_to.active_element

    focused = press(Keys.TAB)
    assert focused.text == "Skip to the content"
    assert focused.rect["x"] >= 0
    press(Keys.ENTER)
    assert browser.js("return location.hash") == "#content"
    browser.open(products["good"].files["report"])
    reached = []
    for _ in range(60):
        focused = press(Keys.TAB)
        reached.append(focused.get_attribute("href") or focused.tag_name)
        if focused.tag_name == "summary":
            break
    assert [link.rpartition("#")[2] for link in reached if "#" in link][-len(SECTIONS) :] == SECTIONS
    details = focused.find_element("xpath", "..")
    assert details.get_attribute("open") is None
    press(Keys.ENTER)
    assert details.get_attribute("open") == "true"


def test_a_print_shows_all_details_on_white(products, browser):
    browser.open(products["good"].files["report"])
    browser.js("dispatchEvent(new Event('beforeprint'))")
    assert browser.js("return document.querySelectorAll('details:not([open])').length") == 0
    browser.js("document.getElementById('theme').click()")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.js("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.js("return getComputedStyle(document.querySelector('nav')).display") == "none"
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.js("dispatchEvent(new Event('afterprint'))")
    assert browser.js("return document.querySelectorAll('details:not([open])').length") > 0


def test_the_figures_are_in_a_table(products, browser):
    browser.open(products["good"].files["report"])
    rows = browser.driver.find_elements("css selector", "#figures tbody tr th")
    names = {row.find_element("xpath", "text()/..").get_attribute("textContent") for row in rows}
    for one in products["good"].qc:
        assert any(name.startswith(one["name"]) for name in names)
