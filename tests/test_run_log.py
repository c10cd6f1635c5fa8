"""The log of a run: complete, separate from other runs, and without effect on the caller's logging."""

import logging
import logging.config
import threading

import pytest

from soxspipe.run_log import collect_log, get_logger

NAME = "soxspipe.some.module"
log = get_logger(NAME)


def messages(run_log):
    return [record.getMessage() for record in run_log.records]


def test_a_line_has_time_level_name_and_message():
    with collect_log() as run_log:
        log.debug("a detail")
        log.info("%d frames of %s", 3, "NIR")
        log.warning("two\nlines \x1b[31m")
    one, two = run_log.text().splitlines()
    assert one.endswith(" INFO    soxspipe.some.module: 3 frames of NIR")
    assert two.endswith(r" WARNING soxspipe.some.module: two\nlines \x1b[31m")
    assert messages(run_log)[0] == "a detail"


@pytest.fixture(params=["disable", "level", "disabled logger", "dictConfig"])
def silenced(request):
    """Silence the standard logger in one of the ways that a caller has."""
    logger = logging.getLogger(NAME)
    if request.param == "disable":
        logging.disable(logging.CRITICAL)
    elif request.param == "level":
        logger.setLevel(logging.CRITICAL)
    elif request.param == "disabled logger":
        logger.disabled = True
    else:
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})
        assert logger.disabled
    yield
    logging.disable(logging.NOTSET)
    logger.setLevel(logging.NOTSET)
    for one in (logging.getLogger(name) for name in list(logging.root.manager.loggerDict)):
        one.disabled = False


def test_the_log_is_complete_whatever_the_caller_lets_through(silenced, caplog):
    with collect_log() as run_log:
        log.info("a step")
    assert messages(run_log) == ["a step"]
    assert not caplog.records


def test_the_caller_sees_what_the_standard_logger_lets_through(caplog):
    caplog.set_level(logging.WARNING, logger=NAME)
    with collect_log():
        log.info("a step")
        log.warning("in the run")
    log.warning("outside")
    assert caplog.messages == ["in the run", "outside"]
    assert [record.filename for record in caplog.records] == ["test_run_log.py"] * 2
    assert [record.funcName for record in caplog.records] == [
        "test_the_caller_sees_what_the_standard_logger_lets_through"
    ] * 2


def test_a_listener_hears_records_of_inner_logs_in_place_of_the_standard_logger(caplog):
    heard = []
    with collect_log(heard.append) as outer:
        log.warning("one")
        with collect_log() as inner:
            log.warning("two")
        log.warning("three")
    assert messages(outer) == [record.getMessage() for record in heard] == ["one", "two", "three"]
    assert messages(inner) == ["two"]
    assert not caplog.records


def test_two_threads_keep_their_logs_apart():
    ready = threading.Barrier(2)
    found = {}

    def run(name):
        with collect_log() as run_log:
            for number in range(100):
                ready.wait()
                log.info("%s %d", name, number)
        found[name] = messages(run_log)

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: [f"{name} {number}" for number in range(100)] for name in "ab"}


def test_an_exception_ends_the_log():
    def fail():
        with collect_log() as run_log:
            try:
                raise ValueError("odd")
            finally:
                log.info("inside")
                kept.append(run_log)

    kept = []
    with pytest.raises(ValueError, match="odd"):
        fail()
    log.info("outside")
    assert messages(kept[0]) == ["inside"]
