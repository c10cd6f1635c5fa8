import signal

import pytest

from soxspipe.recipes import recipe
from tests.browser import browser
from tests.commands import shell_path

__all__ = ["browser", "shell_path"]


@pytest.fixture(autouse=True, scope="session")
def without_reports():
    """Make products without reports, except in tests of reports: a report takes longer than a small reduction."""
    patch = pytest.MonkeyPatch()
    patch.setattr(recipe, "_add_report", lambda product: "")
    yield patch
    patch.undo()


@pytest.fixture(autouse=True, scope="session")
def signals_of_python():
    """Handle SIGINT and SIGHUP as Python does.

    The process that runs the tests may ignore them: nohup ignores SIGHUP, a background job of a shell SIGINT. And the
    entry point of the program, which some tests import, leaves SIGINT to the system.
    """
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        if before[number] in (signal.SIG_IGN, signal.SIG_DFL):
            signal.signal(number, handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
