"""The report of a product: one HTML page, made from the files of the product."""

from .page import make_report, write_report

__all__ = ["IMPORTS", "make_report", "write_report"]

#: Packages that a report needs and that take long to import.
IMPORTS = ("matplotlib.figure", "matplotlib.backends.backend_svg", "jinja2", "astropy.visualization")
