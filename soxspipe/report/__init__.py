"""The report of a product: one HTML page, made from the files of the product."""

from .page import make_report, write_report

__all__ = ["make_report", "write_report"]
