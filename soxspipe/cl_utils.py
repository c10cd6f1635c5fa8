"""The command line under the name that it has in the pipeline of the SOXS consortium."""

from .cli.command_line import main

__all__ = ["main"]
