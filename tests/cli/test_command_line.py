"""The command line: its output and exit codes.

Tests of messages, codes and dispatch put a fake recipe in the place of the real one; those under 'the real recipe' at
the end simulate darks and reduce them.
"""

import contextlib
import io
import json
import logging
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import textwrap
import threading
import types
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import soxspipe
from soxspipe import cl_utils
from soxspipe.cli import command_line, fundamentals_adapter, usage
from soxspipe.cli.database_writer import DatabaseWriter
from soxspipe.cli.fundamentals_adapter import elapsed_words
from soxspipe.cli.terminal import Terminal
from soxspipe.exceptions import FrameError, ProductError
from soxspipe.parallel import default_workers
from soxspipe.settings import Settings, default_settings_text
from soxspipe.signals import STOP_SIGNALS, signals_as_exceptions
from soxspipe.version import __version__
from tests import fake_recipes
from tests.fake_recipes import FAKE, FakeProduct, FakeRecipe

ROOT = Path(soxspipe.__file__).parent.parent
SMALL = ("--shape=128x128", "--frames=5", "--exptime=10")

COMMANDS = list(usage.COMMANDS)
COMMAND_NAMES = ", ".join(COMMANDS)


@pytest.fixture
def fake(monkeypatch):
    """Put a fake in the place of the recipes; what it is called with in this process is in ``calls``."""
    for command_, (_, argument) in usage.RECIPES.items():
        monkeypatch.setitem(usage.RECIPES, command_, (FAKE[0], argument))
    monkeypatch.setattr(FakeRecipe, "calls", [])
    monkeypatch.setattr(DatabaseWriter, "add", lambda writer, product: None)  # the products of the fake are no files
    monkeypatch.setattr(fake_recipes, "RAISES", dict(fake_recipes.RAISES))
    return types.SimpleNamespace(calls=FakeRecipe.calls, raises=fake_recipes.RAISES)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments, **options):
    """Run the command line in another process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    environment = {name: value for name, value in environment.items() if value is not None}
    options = {"capture_output": True, "text": True, "timeout": 60, **options}
    return subprocess.run([sys.executable, "-m", "soxspipe", *arguments], env=environment, **options)


# ---- help, version, bad usage ----


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["nonsense", "-h"], ["-q", "--help"]])
def test_help_lists_commands_and_exit_codes(arguments, capsys):
    assert command_line.main(arguments) == 0
    out, err = capsys.readouterr()
    for word in (*usage.COMMANDS, "0  ", "1  ", "2  ", "130", "143"):
        assert f"\n  {word} " in out
    assert err == ""


@pytest.mark.parametrize("name", usage.COMMANDS)
def test_the_descriptions_of_options_stand_in_one_column(name):
    for block in usage.CommandHelp(name).text.split("\n\n"):
        lines = [line for line in block.splitlines() if re.match("  -|      ", line) and "Options" in block]
        assert len({re.match(r"(  -.*?)?  +(?=\S)", line).end() for line in lines}) <= 1


@pytest.mark.parametrize("name", usage.COMMANDS)
def test_each_command_has_its_own_help(name, capsys):
    assert command_line.main([name, "--help"]) == 0
    out, err = capsys.readouterr()
    assert f"\n  soxspipe {name} " in out
    assert "\n  -q, --quiet " in out
    assert all(usage.COMMANDS[other] == usage.COMMANDS[name] or f"soxspipe {other}" not in out for other in COMMANDS)
    assert max(map(len, out.splitlines())) <= 110
    assert err == ""


def test_options_of_the_shared_text_are_all_used():
    shared = usage._shared_options()
    used = {option for name in usage.COMMANDS for option in usage.CommandHelp(name).options}
    assert set(shared) <= used


def test_version(capsys):
    assert command_line.main(["--version"]) == 0
    assert capsys.readouterr() == (f"soxspipe {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], f"no command: expected {COMMAND_NAMES}"),
        (["mdrak", "a.sof"], "unknown command 'mdrak': did you mean 'mdark'?"),
        (["mdark"], "mdark: <inputFrames> is missing"),
        (["settings", "b"], "settings: 'b' is an argument too many"),
        (["demo", "a", "b"], "demo: 'b' is an argument too many"),
        (["mdark", "a.sof", "--sttings=x"], "unknown option '--sttings' of mdark: did you mean '--settings'?"),
        (["mdark", "a.sof", "--settings"], "--settings requires argument"),
        (["mdark", "a.sof", "-q", "-v"], "--quiet and --verbose do not go together: choose one of them"),
        (["mdark", "a.sof", "-qv"], "--quiet and --verbose do not go together: choose one of them"),
        (
            ["mdark", "a.sof", "--workers=2", "--sched=tcp://a:1"],
            "--workers and --scheduler do not go together: choose one of them",
        ),
        (["mdark", "a.sof", "--raw=b"], "--raw is an option of --rerun: leave it out, or add --rerun"),
        (["mdark", "a.sof", "--dry-run"], "unknown option '--dry-run' of mdark: did you mean '--rerun'?"),
        (["weiss", "\x1b[31m"], f"unknown command 'weiss': expected {COMMAND_NAMES}"),
        (["\x1b[31m"], f"unknown command '\\x1b[31m': expected {COMMAND_NAMES}"),
    ],
)
def test_bad_usage_is_two_with_the_usage_on_standard_error(arguments, message, capsys):
    assert command_line.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == f"soxspipe: error: {message}"
    assert err.splitlines()[1] == "Usage:"


def test_an_interruption_before_anything_is_imported_ends_silently(tmp_path):
    (tmp_path / "logging.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    run = command("--version", env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})
    assert (run.returncode, run.stdout, run.stderr) == (-signal.SIGINT, "", "")


def test_exit_code_of_the_process():
    assert command("--version").returncode == 0
    run = command("nonsense", env={"PYTHONWARNINGS": "error"})
    assert (run.returncode, run.stdout) == (2, "")


def state_of_process():
    log = logging.getLogger("soxspipe")
    return {
        "logger": (log.level, log.propagate, list(log.handlers), log.disabled),
        "warnings": (list(warnings.filters), warnings.showwarning),
        "signals": [signal.getsignal(number) for number in STOP_SIGNALS],
        "streams": (sys.stdout, sys.stderr),
        "environment": dict(os.environ),
    }


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("thread", [False, True])
def test_a_call_leaves_the_process_as_it_was(fake, thread, workers, capsys):
    elapsed_words(0, 1)  # imports
    before = state_of_process()
    for arguments in (
        ["mdark", "a.sof", "bad.sof", f"--workers={workers}", "-v"],
        ["nonsense"],
        ["--help"],
        ["settings"],
    ):
        if thread:
            runner = threading.Thread(target=command_line.main, args=(arguments,))
            runner.start()
            runner.join()
        else:
            command_line.main(arguments)
        assert state_of_process() == before
    assert "a.fits\n" in capsys.readouterr().out


# ---- mdark, with a fake recipe ----


def test_the_product_is_all_that_standard_output_has(fake, capsys):
    assert command_line.main(["mdark", "a.sof"]) == 0
    out, err = capsys.readouterr()
    assert out == "a.fits\n"
    assert err == "soxspipe: warning: a warning\\nof two lines \\x1b[31m\n"


def test_defaults_and_options_of_mdark(fake, here, capsys):
    assert command_line.main(["mdark", "a.sof"]) == 0
    Path("my.yaml").write_text("soxs-mdark: {minimum-frames: 4}\n")
    options = ["--output=out dir", "--settings=my.yaml", "--workers=3", "--overwrite"]
    assert command_line.main(["mdark", "a.sof", *options]) == 0
    first, second = fake.calls
    rest = {"settings": Settings.load(), "output": ".", "overwrite": False, "workers": default_workers()}
    assert first == {"frames": ["a.sof"], **rest}
    assert second["settings"] == Settings.load("my.yaml")
    rest = {"output": "out dir", "overwrite": True, "workers": 3}
    assert second == {"frames": ["a.sof"], "settings": second["settings"], **rest}


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5", "", "9999999999"])
def test_an_invalid_number_of_workers(fake, capsys, number):
    assert command_line.main(["mdark", "a.sof", f"--workers={number}"]) == 2
    assert (
        capsys.readouterr().err == f"soxspipe: error: --workers is '{number}', expected a whole number from 1 to 1024\n"
    )
    assert fake.calls == []


def test_each_set_and_folder_is_one_reduction(fake, here, capsys):
    Path("night.fits").mkdir()
    arguments = ["one.fits", "b.SOF", "two.fits.gz", "night.fits", "a.sof", "--", "-three.fits"]
    assert command_line.main(["mdark", "--workers=1", *arguments]) == 0
    frames = [call["frames"] for call in fake.calls]
    assert frames == [["one.fits", "two.fits.gz", "-three.fits"], ["b.SOF"], ["night.fits"], ["a.sof"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "input is empty: expected the name of a file or folder"),
        (["a.sof", "--output="], "--output is empty: expected the name of a file or folder"),
        (["a\nb.sof"], "input 'a\\nb.sof' has control characters: rename it"),
        (["a.sof", "--settings=\x7f"], "--settings '\\x7f' has control characters: rename it"),
        (
            ["a.sof", "--settings=none.yaml"],
            "none.yaml: not readable: No such file or directory: expected a file of text",
        ),
    ],
)
def test_invalid_names_are_refused(arguments, message, fake, here, capsys):
    assert command_line.main(["mdark", *arguments]) == 2
    assert capsys.readouterr() == ("", f"soxspipe: error: {message}\n")
    assert not fake.calls


def test_dark_current_has_the_options_of_mdark(fake, here, monkeypatch, capsys):
    Path("my.yaml").write_text("dark-current: {nonlinear-sigma: 6}\n")
    monkeypatch.setitem(usage.RECIPES, "mdark", ("none:none", "none"))
    options = ["--output=out", "--settings=my.yaml", "--overwrite", "-q"]
    assert command_line.main(["dark-current", *options, "a.fits", "b.fits", "--", "-c.fits"]) == 0
    (call,) = fake.calls
    assert call["frames"] == ["a.fits", "b.fits", "-c.fits"]
    assert call["settings"].common.dark_current.nonlinear_sigma == 6
    assert (call["output"], call["overwrite"]) == ("out", True)
    capsys.readouterr()
    assert command_line.main(["dark-current", "faults.sof", "-q"]) == 2
    assert capsys.readouterr() == ("", "soxspipe: error: a: is a bias\nsoxspipe: error: b: is a flat\n")


def test_the_tilde_that_a_shell_leaves(fake, here, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(here))
    assert command_line.main(["mdark", "a.sof", "--output=~/out"]) == 0
    assert fake.calls[0]["output"] == str(here / "out")


def test_json_of_one_reduction(fake, capsys):
    assert command_line.main(["mdark", "a.sof", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    qc = {"name": "PULL STD", "value": 1.0, "unit": "", "range": [0.9, 1.1], "passed": True}
    assert document.pop("qc")[0] == qc
    assert document == {
        "product": "a.fits",
        "files": {"master dark": "a.fits", "qc": "made_qc.json"},
        "warnings": ["cold pixels not tested"],
    }


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (FrameError(["a: is a bias", "b: is a flat"]), 2, ["a: is a bias", "b: is a flat"]),
        (ProductError("out: no space left"), 1, ["out: no space left"]),
        (OSError(28, "No space left on device", "x.fits"), 1, ["x.fits: No space left on device"]),
        (OSError("odd"), 1, ["OSError: odd: a fault of soxspipe, please report it with what -v -v prints"]),
        (MemoryError(), 1, ["not enough memory: close other programs, raise the limit, or choose --workers=1"]),
        (KeyError("x"), 1, ["KeyError: 'x': a fault of soxspipe, please report it with what -v -v prints"]),
        (FrameError([]), 2, ["FrameError: a fault of soxspipe, please report it with what -v -v prints"]),
    ],
)
def test_an_error_is_one_line_a_fault(error, code, lines, fake, capsys):
    fake.raises["a.sof"] = error
    assert command_line.main(["mdark", "a.sof", "-q"]) == code
    assert capsys.readouterr() == ("", "".join(f"soxspipe: error: {line}\n" for line in lines))
    assert command_line.main(["mdark", "a.sof", "--json", "-q"]) == code
    document = json.loads(capsys.readouterr().out)
    assert (document["product"], document["input"], document["errors"]) == (None, ["a.sof"], lines)


@pytest.mark.parametrize("workers", [1, 2])
def test_one_failed_reduction_does_not_stop_the_others(workers, fake, capsys):
    assert command_line.main(["mdark", "a.sof", "empty.sof", "odd.sof", "d.sof", "-q", f"--workers={workers}"]) == 1
    out, err = capsys.readouterr()
    assert out == "a.fits\nd.fits\n"
    assert [line[:36] for line in err.splitlines()] == [
        "soxspipe: error: empty.sof: is empty",
        "soxspipe: error: RuntimeError: odd: ",
    ]


def test_json_of_several_reductions_is_a_list_in_their_order(fake, capsys):
    assert command_line.main(["mdark", "a.sof", "faults.sof", "c.sof", "--json"]) == 1
    first, second, third = json.loads(capsys.readouterr().out)
    assert (first["product"], third["product"]) == ("a.fits", "c.fits")
    errors = ["a: is a bias", "b: is a flat"]
    assert second == {
        "product": None, "files": {}, "qc": [], "warnings": [], "errors": errors, "input": ["faults.sof"],
    }  # fmt: skip


@pytest.mark.parametrize("flags", [[], ["-v", "-v"], ["--json"], ["-q"]])
def test_several_processes_write_what_one_would(flags, fake, monkeypatch, capsys):
    monkeypatch.setattr(fundamentals_adapter, "elapsed_words", lambda start_s, end_s: "12s")
    names = ["bad.sof", "b.sof", "c.sof", "empty.sof", "e.sof", "system.sof", "g.sof", "h.sof"]
    pages = {}
    for workers in (1, 2, 3, 20):
        assert command_line.main(["mdark", *names, *flags, f"--workers={workers}"]) == 1
        out, err = capsys.readouterr()
        if "--json" in flags:
            out = [document | {"qc": document["qc"][:1]} for document in json.loads(out)]
        pages[workers] = out, err
    assert pages[1] == pages[2] == pages[3] == pages[20]
    assert pages[1][0]


def test_a_reduction_whose_process_dies_fails_alone(fake, capsys):
    arguments = ["a.sof", "dies-1.sof", "x.fits", "c.sof", "y.fits", "dies-2.sof", "--workers=2", "-q"]
    assert command_line.main(["mdark", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == "a.fits\nx.fits.fits\nc.fits\n"
    assert err.splitlines() == [
        f"soxspipe: error: {name}: its process was killed: where memory is short, choose --workers=1"
        for name in ("dies-1.sof", "dies-2.sof")
    ]


def test_verbosity(fake, monkeypatch, capsys):
    monkeypatch.setattr(fundamentals_adapter, "elapsed_words", lambda start_s, end_s: "12s")
    warning, step, detail = "soxspipe: warning: a warning", "a step", "a detail"
    for flags, expected in (
        (["-q"], []),
        ([], [warning]),
        (["-v"], [step, warning, "a.fits: reduced in 12s"]),
        (["-v", "-v"], [detail, step, warning, "a.fits: reduced in 12s"]),
        (["-vv"], [detail, step, warning, "a.fits: reduced in 12s"]),
    ):
        assert command_line.main(["mdark", "a.sof", *flags]) == 0
        err = capsys.readouterr().err
        assert [line.partition("\\n")[0] for line in err.splitlines()] == expected
    command_line.main(["mdark", "bad.sof", "-v"])
    assert "Traceback" not in capsys.readouterr().err
    command_line.main(["mdark", "bad.sof", "-v", "-v"])
    assert "\nTraceback" in capsys.readouterr().err


@pytest.mark.parametrize("inputs", [["warns-1.sof"], ["warns-1.sof", "warns-2.sof"]])
def test_warnings_of_other_packages_go_to_the_log(inputs, here):
    for flags, expected in (([], []), (["-v"], [r"UserWarning: odd\ncard"] * len(inputs))):
        with fake_run("mdark", *inputs, *flags) as process:
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "".join(f"{Path(name).stem}.fits\n" for name in inputs))
        assert [line for line in err.splitlines() if "odd" in line] == expected


def test_no_colour_and_no_progress_without_a_terminal(fake, monkeypatch, capsys):
    command_line.main(["mdark", "a.sof", "bad.sof"])
    assert "\x1b" not in capsys.readouterr().err


FAKE_RUN = """
from soxspipe.cli import usage
from soxspipe.execution import local_processes
from tests.fake_recipes import FAKE
usage.RECIPES["mdark"] = FAKE
local_processes.CLEANUP_S = 1
local_processes.PRELOADED = ["tests.fake_recipes"]
from soxspipe.__main__ import main
main()
"""


def fake_run(*arguments, **options):
    """Start the command line with a fake recipe."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen([sys.executable, "-c", FAKE_RUN, *arguments, "--"], env=environment, **options)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("signum", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 129, "terminated")],
)
def test_signals_stop_the_program_after_its_cleaning_up(signum, code, word, workers, here):
    inputs = ["waits.sof"] * workers + ["other.sof"]
    with fake_run("mdark", *inputs, f"--workers={workers}", "-q", cwd=here) as process:
        assert [process.stdout.readline() for _ in range(workers)] == ["ready\n"] * workers
        process.send_signal(signum)
        process.send_signal(signum)  # as a shell does that closes: it does not break the cleaning up
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (code, "", f"soxspipe: error: {word}\n")
    assert len(list(here.glob("cleaned by *"))) == workers


def test_a_signal_to_all_processes_is_as_one_to_the_program(here):
    """As a terminal sends it."""
    with fake_run("mdark", *["waits.sof"] * 2, "--workers=2", "-q", cwd=here, start_new_session=True) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "soxspipe: error: interrupted\n")
    assert len(list(here.glob("cleaned by *"))) == 2


def test_a_process_that_is_stopped_does_not_keep_the_program(here):
    with fake_run("mdark", "a.sof", "stops.sof", "--workers=2", "-q", cwd=here) as process:
        lines = {process.stdout.readline() for _ in range(2)}
        (pid,) = map(int, lines - {"a.fits\n"})
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (143, "", "soxspipe: error: terminated\n")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_processes_end_when_the_program_is_killed(here):
    with fake_run("mdark", *["waits.sof"] * 3, "--workers=2", cwd=here) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
        process.kill()
        process.communicate(timeout=60)  # they hold its standard output
    assert len(list(here.glob("cleaned by *"))) == 2


def _clean_up_badly(_):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        raise ValueError("odd")


class _StopsWhenLookedAt:
    @property
    def __class__(self):
        os.kill(os.getpid(), signal.SIGTERM)


def _have_numpy_look(_):
    np.zeros(1).tofile(_StopsWhenLookedAt())  # NumPy 2.4 makes a TypeError of any exception


def _hit_a_callback(_):
    def callback(_):
        os.kill(os.getpid(), signal.SIGTERM)

    frame = FakeProduct("a.fits")
    reference = weakref.ref(frame, callback)
    del frame  # what its callback raises, Python prints and forgets
    assert reference() is None
    return FakeProduct("a.fits")


def _drop_it(_):
    for signum in (signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(BaseException):  # as extension modules of Cython do while they are imported
            os.kill(os.getpid(), signum)
    return FakeProduct("a.fits")


@pytest.mark.parametrize("make", [_clean_up_badly, _have_numpy_look, _hit_a_callback, _drop_it])
def test_a_request_to_stop_is_kept_where_its_exception_is_lost(make, fake, monkeypatch, capsys):
    monkeypatch.setattr(FakeRecipe, "produce_product", make)
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: None)
    with signals_as_exceptions():
        assert command_line.main(["mdark", "a.sof", "b.sof", "c.sof", "--workers=1"]) == 143
    assert capsys.readouterr() == ("", "soxspipe: error: terminated\n")
    assert len(fake.calls) == 1


def on_a_terminal(*arguments, **environment):
    """Run with a fake recipe and a terminal as standard error; return what it shows."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with fake_run(*arguments, stderr=theirs, env={"TERM": "xterm", **environment}):
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += (more := os.read(ours, 4096))
            except OSError:
                break
            if not more:
                break
    os.close(ours)
    return shown.decode()


def test_colour_on_a_terminal_unless_unwanted():
    assert "soxspipe: \x1b[31merror\x1b[0m: RuntimeError: odd" in on_a_terminal("mdark", "odd.sof", NO_COLOR="")
    assert "soxspipe: error: RuntimeError: odd" in on_a_terminal("mdark", "odd.sof", NO_COLOR="1")


def test_progress_on_a_terminal():
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", on_a_terminal("mdark", "a.sof"))
    assert re.search(r"mdark: +67% \S", shown)
    assert "%" not in on_a_terminal("mdark", "a.sof", "-q")
    assert "%" not in on_a_terminal("mdark", "a.sof", "-v")


def test_a_table_leaves_the_streams_of_the_process_as_they_are(monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    shown, before = Terminal(), (sys.stdout, sys.stderr)
    shown.begin_table(lambda: "the table\nof two lines")
    assert (sys.stdout, sys.stderr) == before
    shown.write("a line above")
    with shown.without_table():
        assert stream.getvalue().endswith("\x1b[2K")  # the table is taken away
        before_result = len(stream.getvalue())
    shown.update_table()
    assert "\x1b[1A" not in stream.getvalue()[before_result:]  # nothing above the table is erased
    shown.close()
    assert (sys.stdout, sys.stderr) == before
    assert stream.getvalue().count("the table") >= 2
    assert "a line above\n" in stream.getvalue()


def test_a_closed_pipe_is_no_error(here):
    ours, theirs = os.pipe()
    os.close(ours)
    with fake_run("mdark", "a.sof", "b.sof", "-q", stdout=theirs) as process:
        os.close(theirs)
        assert process.communicate(timeout=20)[1] == ""
    assert process.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_messages_that_cannot_be_written_are_no_error(here):
    names = [f"{letter}.sof" for letter in "abcd"]
    with open("/dev/full", "w") as full:
        for workers in ("1", "2"):
            with fake_run("mdark", *names, "-v", f"--workers={workers}", stderr=full, cwd=here) as process:
                out, _ = process.communicate(timeout=20)
            assert (process.returncode, out.split()) == (0, ["a.fits", "b.fits", "c.fits", "d.fits"])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_results_that_cannot_be_written_are_an_error():
    with open("/dev/full", "w") as full:
        run = command("settings", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert run.returncode == 1
    assert run.stderr == "soxspipe: error: standard output: No space left on device\n"


def test_names_that_are_no_valid_text_are_written_with_their_bytes(here):
    with fake_run("mdark", b"\xff.sof", "-q", env={"PYTHONIOENCODING": "ascii"}, text=False) as process:
        out, err = process.communicate(timeout=20)
    assert (out, err) == (b"\xff.fits\n", b"")


# ---- settings ----


def test_settings_prints_the_default_file(capsys):
    assert command_line.main(["settings"]) == 0
    assert capsys.readouterr() == (default_settings_text(), "")


def test_settings_writes_a_new_file_only(here, capsys):
    assert command_line.main(["settings", "--output=new/my.yaml"]) == 0
    assert capsys.readouterr().out == "new/my.yaml\n"
    assert Path("new/my.yaml").read_text(encoding="utf-8") == default_settings_text()
    Path("new/my.yaml").write_text("mine")
    assert command_line.main(["settings", "--output=new/my.yaml"]) == 2
    assert capsys.readouterr() == (
        "",
        "soxspipe: error: new/my.yaml: exists already and was left alone: choose another name or remove it\n",
    )
    assert Path("new/my.yaml").read_text() == "mine"


def test_the_schema_of_the_settings(here, capsys):
    assert command_line.main(["settings", "--schema"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == Settings.json_schema()
    assert printed.err == ""
    assert command_line.main(["settings", "--schema", "--output=schema.json"]) == 0
    assert Path("schema.json").read_text(encoding="utf-8") == printed.out


# ---- fundamentals ----


ELAPSED = """
import os
from soxspipe.cli.fundamentals_adapter import elapsed_words
from soxspipe.cli.terminal import Terminal
print(elapsed_words(1e9, 1e9 + 72.4), elapsed_words(1e9, 1e9 + 0.7), os.environ.get("TERM"))
"""


@pytest.mark.parametrize("terminal", [None, "some-terminal"])
def test_words_for_a_run_time_leave_the_terminal_type(terminal):
    environment = {key: value for key, value in os.environ.items() if key != "TERM"}
    environment |= {"TERM": terminal} if terminal else {}
    run = subprocess.run([sys.executable, "-c", ELAPSED], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == f"1m 12s 1s {terminal}\n"


def test_words_for_a_run_time_without_fundamentals(monkeypatch):
    monkeypatch.setitem(sys.modules, "fundamentals.times", None)
    assert fundamentals_adapter.elapsed_words(1e9, 1e9 + 72.4) == "72s"


# ---- the real recipe, on simulated darks ----


@pytest.fixture(scope="module")
def darks(tmp_path_factory):
    """Return the set-of-files file of a few small simulated darks."""
    directory = tmp_path_factory.mktemp("darks")
    assert command_line.main(["simulate", str(directory), *SMALL, "-q"]) == 0
    return directory / "darks.sof"


def test_simulate_prints_its_set_of_files(here, capsys):
    arguments = ["simulate", "new/raw", "--arm=vis", "--shape=128x908", "--frames=3", "--seed=5", "--binning=1x1"]
    assert command_line.main(arguments) == 0
    assert capsys.readouterr() == ("new/raw/darks.sof\n", "")
    assert len(Path("new/raw/darks.sof").read_text().splitlines()) == 3
    assert command_line.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("soxspipe: error: new/raw/")
    assert command_line.main([*arguments, "--overwrite"]) == 0


def test_parameters_of_simulate_that_are_wrong(here, capsys):
    assert command_line.main(["simulate", "raw", "--frames=x", "--shape=64", "--seed=1.5", "--arm=NIR"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "soxspipe: error: simulation: frames is 'x', expected a whole number from 1 to 9999",
        "soxspipe: error: simulation: shape is 64, expected a pair of whole numbers from 32 to 16384",
        "soxspipe: error: simulation: seed is 1.5, expected a whole number from 0 to 9.22337e+18",
    ]
    assert command_line.main(["simulate", "raw", "--frames=-1", "--exptime=nan"]) == 2
    assert all(line.startswith("soxspipe: error: ") for line in capsys.readouterr().err.splitlines())
    assert not Path("raw").exists()


def test_mdark_from_end_to_end(darks, here, capsys):
    Path("my.yaml").write_text("soxs-mdark: {minimum-frames: 4}\n")
    arguments = ["mdark", str(darks), "--output=reduced", "--settings=my.yaml"]
    assert command_line.main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"product", "files", "qc", "warnings"}
    assert Path(document["product"]).parent == Path("reduced")
    assert all(Path(path).is_file() for path in document["files"].values())
    assert "PULL STD" in {record["name"] for record in document["qc"]}

    before = Path(document["product"]).read_bytes()
    assert command_line.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "already there" in err or "exists" in err
    assert Path(document["product"]).read_bytes() == before
    assert command_line.main([*arguments, "--overwrite", "-v"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{document['product']}\n"
    assert "minimum-frames" in err
    assert "reduced in" in err


def test_the_command_line_has_the_name_that_scripts_of_the_soxs_pipeline_import():
    assert cl_utils.main is command_line.main


@pytest.mark.parametrize("command_", ["mdark", "dark-current"])
def test_a_finished_recipe_leaves_no_arrays(command_, darks, here, capsys):
    """Even before a garbage collection: writing the product needs memory, and so does the next reduction."""
    script = """
    import gc, sys
    from soxspipe.cli.command_line import main
    code = main(sys.argv[1:])
    left = {type(o).__name__ for o in gc.get_objects() if str(type(o).__module__).startswith("soxspipe.")}
    print(code, *sorted(left & {"StackResult", "NoiseMap", "Background", "DarkRate"}))
    """
    inputs = [str(darks)]
    if command_ == "dark-current":
        assert command_line.main(["simulate", "longer", *SMALL[:2], "--exptime=40", "-q"]) == 0
        capsys.readouterr()
        assert command_line.main(["mdark", str(darks), "longer", "--workers=1", "-q"]) == 0
        inputs = capsys.readouterr().out.split()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [command_, *inputs, "--workers=1", "--output=made", "--no-report", "-q"]
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments], capture_output=True, text=True, env=environment
    )
    assert run.stdout.splitlines()[1:] == ["0"], run.stdout + run.stderr


COUNTING_RUN = """
from soxspipe.cli import usage
usage.RECIPES["mdark"] = ("tests.counting_recipe:CountingRecipe", "<inputFrames>")
from soxspipe.__main__ import main
main()
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_no_product_is_left_when_the_next_is_made(workers, darks, here):
    sofs = []
    for i in range(3):  # each begins with another frame, and so has a product of another name
        sofs.append(f"{i}.sof")
        Path(sofs[i]).write_text("\n".join(f"{darks.parent}/{line}" for line in darks.read_text().splitlines()[i:]))
    arguments = ["mdark", *sofs, f"--workers={workers}", "--output=made", "--no-report"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", COUNTING_RUN, *arguments], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stderr
    left = [path.read_text() for path in Path("made").glob("left before *")]
    assert left == ["0"] * len(sofs)


def test_several_processes_make_the_same_files_as_one(darks, here):
    lines = darks.read_text().splitlines()
    sofs = []
    for i in range(3):  # all frames but one, and so with a first frame or other errors
        sofs.append(darks.parent / f"{i}.sof")
        sofs[i].write_text("\n".join(lines[:i] + lines[i + 1 :]) + "\n")
    sofs[2].write_text("\n".join(lines[2:]) + "\n")
    pages = {}
    for workers in ("1", "2"):
        run = command("mdark", *map(str, sofs), f"--output={workers}", f"--workers={workers}", "--no-report", cwd=here)
        assert run.returncode == 0, run.stderr
        pages[workers] = run.stdout.replace(f"{workers}/", ""), run.stderr
    assert pages["1"] == pages["2"]
    names = sorted(path.name for path in Path("1").iterdir())
    assert names == sorted(path.name for path in Path("2").iterdir())
    assert len(names) == 3 * 4 + 1  # and the quality database
    for name in pages["1"][0].split():
        one, two = (fits.open(f"{folder}/{name}") for folder in "12")
        with one, two:
            assert one[0].header["DATAMD5"] == two[0].header["DATAMD5"]
            assert fits.FITSDiff(one, two, ignore_keywords=["DATE", "CHECKSUM", "DATASUM"]).identical


def test_each_warning_is_shown_once(darks, here):
    Path("my.yaml").write_text("quality: {RON RAW: [null, 0]}\n")
    run = command("mdark", str(darks), "--settings=my.yaml", "--no-report", cwd=here)
    assert run.returncode == 0, run.stderr
    assert [("RON RAW" in line) for line in run.stderr.splitlines()].count(True) >= 1
    assert len(set(run.stderr.splitlines())) == len(run.stderr.splitlines())
    assert all(line.startswith("soxspipe: warning: ") for line in run.stderr.splitlines())


def test_the_demo_prints_its_product_last(here, monkeypatch, capsys):
    import functools

    from soxspipe import simulation

    # the demo's darks, but small
    monkeypatch.setattr(simulation, "DarkSimulation", functools.partial(simulation.DarkSimulation, shape=(128, 128)))
    assert command_line.main(["demo"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "soxspipe-demo/darks.sof"
    assert Path(out[-1]).parent == Path("soxspipe-demo/reduced")
    assert Path(out[-1]).is_file()
    assert command_line.main(["demo"]) == 2
    assert capsys.readouterr().out == ""
    assert command_line.main(["demo", "soxspipe-demo", "--overwrite"]) == 0
