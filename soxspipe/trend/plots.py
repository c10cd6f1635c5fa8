"""The plots of the trend page as Bokeh models without data: the script of the page fills their sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure  # noqa: N812 - the class has a lower-case name

__all__ = ["plot_items"]

# the file is text of headers: fields of tooltips are escaped, as they are not marked {safe}
PRODUCT_TOOLTIP = [
    ("file", "@file"),
    ("date", "@time{%F %T} UTC"),
    ("series", "@series"),
    ("value", "@value"),
    ("range", "@range"),
    ("verdict", "@verdict"),
    ("temperature", "@temperature{0.00} K"),
]
CHANGE_TOOLTIP = [
    ("pixel", "@x, @y"),
    ("change", "@kind"),
    ("date", "@time{%F}"),
    ("significance", "@sigma{0.0} errors"),
]
RATE_TOOLTIP = [
    ("date", "@date"),
    ("rate", "@rate{0.00000} electron/s"),
    ("pixels", "@count"),
    ("CDF", "@cdf{0.000} %"),
]
PRODUCT_COLUMNS = (
    "time", "y", "low", "high", "cold", "temperature", "color", "marker", "file", "series", "value", "range", "verdict",
)  # fmt: skip
RATE_COLUMNS = ("rate", "left", "right", "density", "cdf", "count", "date")
SIZE = 7


def plot_items() -> dict[str, Any]:
    """Return the plots in the form of Bokeh's JSON items.

    Returns
    -------
    dict
        ``trend`` (a figure against date above the temperature), ``map`` and ``rates`` (histogram above CDF).
    """
    from bokeh.embed import json_item
    from bokeh.models import Column

    def item(name: str, *plots: Figure) -> Any:
        return json_item(Column(children=list(plots), sizing_mode="stretch_width"), name)

    return {"trend": item("trend", *_trend()), "map": item("map", _map()), "rates": item("rates", *_rates())}


def _figure(name: str, height: int, x_label: str, y_label: str, **options: Any) -> Figure:
    """Return a figure that leaves the scrolling of the page alone until a person selects the wheel."""
    from bokeh.plotting import figure

    plot = figure(
        name=name,
        height=height,
        sizing_mode="stretch_width",
        tools="pan,box_zoom,wheel_zoom,reset,save",
        active_drag="box_zoom",
        active_scroll=None,
        output_backend="canvas",
        x_axis_label=x_label,
        y_axis_label=y_label,
        **options,
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = False
    return plot


def _source(name: str, columns: tuple[str, ...]) -> Any:
    from bokeh.models import ColumnDataSource

    return ColumnDataSource(name=name, data={column: [] for column in columns})


def _trend() -> tuple[Figure, Figure]:
    """Return the plot of a figure against date, and that of the temperature, with the same dates."""
    from bokeh.models import HoverTool, Range1d, TapTool

    products = _source("products", PRODUCT_COLUMNS)
    ranges = _source("ranges", ("left", "right", "bottom", "top", "color"))
    outliers = _source("outliers", ("time", "y", "label", "align"))
    dates = Range1d(0, 1)
    top = _figure("value", 430, "", "", x_axis_type="datetime", x_range=dates, y_range=Range1d(0, 1))
    top.quad("left", "right", "top", "bottom", source=ranges, fill_color="color", fill_alpha=0.10, line_color="color",
             line_alpha=0.5, line_dash="dashed")  # fmt: skip
    top.segment("time", "low", "time", "high", source=products, color="color", alpha=0.45)
    points = _products(top, products, "y")
    top.scatter("time", "y", source=outliers, name="rings", marker="circle", size=SIZE + 9, fill_color=None,
                line_color="black", line_width=1.8)  # fmt: skip
    top.text("time", "y", "label", source=outliers, name="labels", y_offset=-12, text_align="align",
             text_font_size="12px", text_color="black")  # fmt: skip
    below = _figure("temperature", 190, "date (UTC)", "", x_axis_type="datetime", x_range=dates,
                    y_range=Range1d(0, 1))  # fmt: skip
    cold_points = _products(below, products, "cold")
    for plot, renderer in ((top, points), (below, cold_points)):
        plot.add_tools(
            HoverTool(renderers=[renderer], tooltips=PRODUCT_TOOLTIP, formatters={"@time": "datetime"}, visible=False),
            TapTool(renderers=[renderer], visible=False),
        )
    return top, below


def _products(plot: Figure, source: Any, column: str) -> Any:
    """Draw the products; a selected one keeps its look, as a click only opens its report."""
    return plot.scatter("time", column, source=source, marker="marker", size=SIZE, color="color", fill_alpha=0.75,
                        nonselection_fill_alpha=0.75, nonselection_line_alpha=1.0)  # fmt: skip


def _map() -> Figure:
    """Return the map of the changed pixels of a detector, with their date as colour."""
    from bokeh.models import ColorBar, DatetimeTickFormatter, HoverTool, LinearColorMapper, Range1d
    from bokeh.palettes import Viridis256

    changes = _source("changes", ("x", "y", "time", "kind", "marker", "sigma"))
    plot = _figure("map", 760, "x (pixel)", "y (pixel)", x_range=Range1d(0, 1), y_range=Range1d(0, 1))
    colors = LinearColorMapper(name="dates", palette=Viridis256[50:235], low=0, high=1)
    points = plot.scatter("x", "y", source=changes, marker="marker", size=6, line_color=None,
                          fill_color={"field": "time", "transform": colors})  # fmt: skip
    dates = DatetimeTickFormatter(hours="%m-%d %Hh", days="%Y-%m-%d", months="%Y-%m", years="%Y-%m")
    plot.add_layout(ColorBar(color_mapper=colors, formatter=dates, title="date", background_fill_alpha=0), "below")
    plot.add_tools(
        HoverTool(renderers=[points], tooltips=CHANGE_TOOLTIP, formatters={"@time": "datetime"}, visible=False)
    )
    return plot


def _rates() -> tuple[Figure, Figure]:
    """Return the histograms of the dark rates of two dates, and their CDF."""
    from bokeh.models import HoverTool, Range1d

    rates = Range1d(0, 1)
    top = _figure(
        "histogram", 320, "", "pixels per (electron/s)", x_range=rates, y_axis_type="log", y_range=Range1d(1, 10)
    )
    below = _figure("cdf", 240, "dark rate (electron/s)", "CDF (%)", x_range=rates, y_range=Range1d(-3, 103))
    for letter, color, dash in (("A", "#0f78b8", "solid"), ("B", "#d0570a", "dashed")):
        source = _source(f"rates {letter}", RATE_COLUMNS)
        # before and after: a step from edge to edge of each bin
        line = top.step("left", "density", source=source, mode="after", color=color, line_dash=dash, line_width=2,
                        legend_label=letter)  # fmt: skip
        curve = below.line(
            "right", "cdf", source=source, color=color, line_dash=dash, line_width=2, legend_label=letter
        )
        for plot, renderer in ((top, line), (below, curve)):
            plot.add_tools(HoverTool(renderers=[renderer], tooltips=RATE_TOOLTIP, mode="vline", visible=False))
    below.legend.location = "bottom_right"
    return top, below
