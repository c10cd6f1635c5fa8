"""Signals that ask to stop: exceptions, waiting during a commit, and no request that is lost."""

import contextlib
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from soxspipe.signals import STOP_SIGNALS, Terminated, deferred_signals, raise_stop_request, signals_as_exceptions

BOTH = pytest.mark.parametrize("signum", STOP_SIGNALS)


@pytest.fixture(autouse=True)
def handlers_are_restored():
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    yield
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def run(work):
    """Call a function as the entry point of a program does."""
    with signals_as_exceptions():
        work()


def expected(signum):
    return KeyboardInterrupt if signum == signal.SIGINT else Terminated


@BOTH
def test_each_signal_raises_its_exception(signum):
    with pytest.raises(expected(signum)) as caught:
        run(lambda: signal.raise_signal(signum))
    if signum != signal.SIGINT:
        assert caught.value.exit_code == 128 + signum
        assert str(caught.value) == "terminated"


@BOTH
def test_an_ignored_signal_stays_ignored(signum):
    before = signal.signal(signum, signal.SIG_IGN)
    try:
        with signals_as_exceptions():
            signal.raise_signal(signum)
            with deferred_signals():
                signal.raise_signal(signum)
        assert signal.getsignal(signum) is signal.SIG_IGN
    finally:
        signal.signal(signum, before)


def test_a_signal_that_comes_twice_at_once_is_one_request():
    """As from a shell that closes, and from the program timeout."""
    done = []

    def stop():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
            done.append("cleaned up")

    with pytest.raises(Terminated):
        run(stop)
    assert done == ["cleaned up"]


def test_a_second_signal_ends_the_process_at_once():
    script = """
    import signal
    from soxspipe import signals
    signals.REPEAT_S = -1.0
    with signals.signals_as_exceptions():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGHUP)
            print("not reached", flush=True)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (-signal.SIGHUP, "", "")


@BOTH
def test_a_signal_waits_until_the_block_is_done(signum):
    done = []

    def commit():
        with deferred_signals():
            signal.raise_signal(signum)
            signal.raise_signal(signum)
            done.append("committed")
        done.append("not reached")

    with pytest.raises(expected(signum)):
        run(commit)
    assert done == ["committed"]


def test_the_handler_of_a_caller_is_called_after_the_block():
    called = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: called.append("handler"))
    try:
        with deferred_signals():
            signal.raise_signal(signal.SIGTERM)
            called.append("block")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert called == ["block", "handler"]


def test_without_a_handler_the_process_ends_after_the_block():
    script = """
    import signal
    from soxspipe.signals import deferred_signals
    with deferred_signals():
        signal.raise_signal(signal.SIGTERM)
        print("committed", flush=True)
    print("not reached", flush=True)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (-signal.SIGTERM, "committed\n", "")


def test_an_error_of_the_block_is_the_context_of_the_exception_of_a_signal():
    def fail():
        with deferred_signals():
            signal.raise_signal(signal.SIGTERM)
            raise OSError("disk full")

    with pytest.raises(Terminated) as caught:
        run(fail)
    assert isinstance(caught.value.__context__, OSError)


@BOTH
def test_nothing_is_committed_after_a_request_whose_exception_was_lost(signum):
    def commit():
        with contextlib.suppress(BaseException):
            signal.raise_signal(signum)
        with deferred_signals():
            pytest.fail("committed")

    with pytest.raises(expected(signum)):
        run(commit)


def test_a_request_is_forgotten_with_its_context():
    with pytest.raises(Terminated):
        run(lambda: signal.raise_signal(signal.SIGTERM))
    raise_stop_request()
    with deferred_signals():
        pass


def test_other_threads_change_nothing_and_are_not_interrupted():
    handlers = []

    def run():
        with signals_as_exceptions(), deferred_signals():
            handlers.append([signal.getsignal(number) for number in STOP_SIGNALS])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert handlers == [[signal.getsignal(number) for number in STOP_SIGNALS]]


def test_the_exception_can_be_pickled():
    import pickle

    assert pickle.loads(pickle.dumps(Terminated(signal.SIGTERM))).exit_code == 143
