import signal

import pytest


@pytest.fixture(autouse=True, scope="session")
def heeded():
    """Heed signals that whoever runs the tests has ignored: nohup ignores SIGHUP, a shell's background job SIGINT."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        if before[number] is signal.SIG_IGN:
            signal.signal(number, handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
