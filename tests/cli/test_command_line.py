"""The command line: what goes where, and with which exit code.

Tests of messages, codes and dispatch put a fake recipe, `fake_recipes`, in the place of the real one; those under
'the real recipe' at the end simulate darks and reduce them.
"""

import contextlib
import json
import logging
import os
import pty
import signal
import subprocess
import sys
import termios
import textwrap
import time
import types
import weakref
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import soxspipe
from soxspipe.cli import command_line, fundamentals_adapter
from soxspipe.exceptions import FrameError, ProductError, SettingsError
from soxspipe.parallel import default_workers
from soxspipe.settings import Settings, default_settings_text
from soxspipe.version import __version__

ROOT = Path(soxspipe.__file__).parent.parent
SMALL = ("--shape=128x128", "--frames=5", "--exptime=10")


class FakeProduct:
    """As a recipe returns it, of a reduction that never was."""

    def __init__(self, path):
        self.path = Path(path)
        self.files = {"master dark": self.path, "qc": Path("made_qc.json")}
        self.warnings = ("cold pixels not tested",)

    def qc_records(self):
        return [{"name": "PULL STD", "value": 1.0, "unit": "", "range": [0.9, 1.1], "passed": True}]


@pytest.fixture
def fake_recipes(monkeypatch):
    """Put a fake in the place of `soxspipe.recipes`; what it is called with is in ``calls``."""
    fake = types.ModuleType("soxspipe.recipes")
    fake.calls, fake.raises = [], {}

    class FakeRecipe:
        def __init__(
            self, input_frames, settings=None, output_dir=".", *, overwrite=False, workers=None, progress=None
        ):
            fake.calls.append(
                {
                    "frames": input_frames,
                    "settings": settings,
                    "output": output_dir,
                    "overwrite": overwrite,
                    "workers": workers,
                }
            )
            self.name, self.progress = str(input_frames), progress

        def produce_product(self):
            log = logging.getLogger("soxspipe.recipes.fake")
            log.debug("a detail")
            log.info("a step")
            log.warning("a warning\nof two lines \x1b[31m")
            if self.name in fake.raises:
                raise fake.raises[self.name]
            if self.progress is not None:
                self.progress(1, 2)
                self.progress(2, 2)
            return FakeProduct(f"{Path(self.name).stem}.fits")

    fake.soxs_mdark = FakeRecipe
    fake.soxs_dark_current = type("FakeDarkCurrent", (FakeRecipe,), {})
    monkeypatch.setitem(sys.modules, "soxspipe.recipes", fake)
    return fake


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments, **options):
    """Run the command line in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    environment = {name: value for name, value in environment.items() if value is not None}
    options = {"capture_output": True, "text": True, "timeout": 60, **options}
    return subprocess.run([sys.executable, "-m", "soxspipe", *arguments], env=environment, **options)


# ---- help, version, bad usage ----


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["mdark", "--help"], ["settings", "--help"], ["nonsense", "-h"]]
)
def test_help_goes_to_standard_output(arguments, capsys):
    assert command_line.main(arguments) == 0
    out, err = capsys.readouterr()
    assert out == command_line.USAGE
    assert err == ""


def test_help_lists_commands_and_exit_codes():
    for word in (*command_line.COMMANDS, "0  ", "1  ", "2  ", "130", "143"):
        assert f"\n  {word} " in command_line.USAGE
    assert max(map(len, command_line.USAGE.splitlines())) <= 100


def test_version(capsys):
    assert command_line.main(["--version"]) == 0
    assert capsys.readouterr() == (f"soxspipe {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no command: expected mdark, dark-current, simulate, demo, settings"),
        (["mdrak", "a.sof"], "unknown command 'mdrak': did you mean 'mdark'?"),
        (["mdark"], "mdark: an argument is missing, or one too many: expected the usage below"),
        (["mdark", "a.sof", "--sttings=x"], "unknown option '--sttings': did you mean '--settings'?"),
        (["mdark", "a.sof", "--settings"], "--settings requires argument"),
        (["mdark", "a.sof", "-q", "-v"], "mdark: an argument is missing, or one too many: expected the usage below"),
        (["mdark", "a.sof", "--arm=NIR"], "mdark: an argument is missing, or one too many: expected the usage below"),
        (["prep", "\x1b[31m"], "unknown command 'prep': expected mdark, dark-current, simulate, demo, settings"),
        (["\x1b[31m"], "unknown command '\\x1b[31m': expected mdark, dark-current, simulate, demo, settings"),
    ],
)
def test_bad_usage_is_two_with_the_usage_on_standard_error(arguments, message, capsys):
    assert command_line.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == f"soxspipe: error: {message}"
    assert err.splitlines()[1] == "Usage:"


def test_an_interruption_before_anything_is_imported_ends_without_a_word(tmp_path):
    (tmp_path / "logging.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    run = command("--version", env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})
    assert (run.returncode, run.stdout, run.stderr) == (-signal.SIGINT, "", "")


def test_exit_code_of_the_process():
    assert command("--version").returncode == 0
    run = command("nonsense", env={"PYTHONWARNINGS": "error"})
    assert (run.returncode, run.stdout) == (2, "")


def test_logging_and_signals_are_left_as_they_were(fake_recipes, capsys):
    log = logging.getLogger("soxspipe")
    before = (log.level, log.propagate, list(log.handlers), signal.getsignal(signal.SIGTERM))
    command_line.main(["mdark", "a.sof"])
    assert (log.level, log.propagate, list(log.handlers), signal.getsignal(signal.SIGTERM)) == before


# ---- mdark, with a fake recipe ----


def test_the_product_is_all_that_standard_output_has(fake_recipes, capsys):
    assert command_line.main(["mdark", "a.sof"]) == 0
    out, err = capsys.readouterr()
    assert out == "a.fits\n"
    assert err == "soxspipe: warning: a warning\\nof two lines \\x1b[31m\n"


def test_defaults_and_options_of_mdark(fake_recipes, here, capsys):
    assert command_line.main(["mdark", "a.sof"]) == 0
    Path("my.yaml").write_text("soxs-mdark: {minimum-frames: 4}\n")
    options = ["--output=out dir", "--settings=my.yaml", "--workers=3", "--overwrite"]
    assert command_line.main(["mdark", "a.sof", *options]) == 0
    first, second = fake_recipes.calls
    rest = {"settings": None, "output": ".", "overwrite": False, "workers": default_workers()}
    assert first == {"frames": "a.sof", **rest}
    assert second["settings"] == Settings.load("my.yaml")
    rest = {"output": "out dir", "overwrite": True, "workers": 3}
    assert second == {"frames": "a.sof", "settings": second["settings"], **rest}


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5", "", "9999999999"])
def test_a_number_of_workers_that_is_none(fake_recipes, capsys, number):
    assert command_line.main(["mdark", "a.sof", f"--workers={number}"]) == 2
    assert (
        capsys.readouterr().err == f"soxspipe: error: --workers is '{number}', expected a whole number from 1 to 1024\n"
    )
    assert fake_recipes.calls == []


def test_inputs_that_are_reductions_of_their_own(fake_recipes, here, capsys):
    Path("night.fits").mkdir()
    arguments = ["one.fits", "b.SOF", "two.fits.gz", "night.fits", "a.sof", "--", "-three.fits"]
    assert command_line.main(["mdark", "--workers=1", *arguments]) == 0
    frames = [call["frames"] for call in fake_recipes.calls]
    assert frames == [["one.fits", "two.fits.gz", "-three.fits"], "b.SOF", "night.fits", "a.sof"]


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
def test_names_that_are_none_are_refused(arguments, message, fake_recipes, here, capsys):
    assert command_line.main(["mdark", *arguments]) == 2
    assert capsys.readouterr() == ("", f"soxspipe: error: {message}\n")
    assert not fake_recipes.calls


def test_dark_current_has_the_options_of_mdark(fake_recipes, here, monkeypatch, capsys):
    Path("my.yaml").write_text("dark-current: {nonlinear-sigma: 6}\n")
    monkeypatch.delattr(fake_recipes, "soxs_mdark")
    options = ["--output=out", "--settings=my.yaml", "--overwrite", "-q"]
    assert command_line.main(["dark-current", *options, "a.fits", "b.fits", "--", "-c.fits"]) == 0
    (call,) = fake_recipes.calls
    assert call["frames"] == ["a.fits", "b.fits", "-c.fits"]
    assert call["settings"].common.dark_current.nonlinear_sigma == 6
    assert (call["output"], call["overwrite"]) == ("out", True)
    fake_recipes.raises = {"a.sof": FrameError(["a: is a bias", "b: is a flat"])}
    capsys.readouterr()
    assert command_line.main(["dark-current", "a.sof", "--json", "-q"]) == 2
    assert capsys.readouterr() == ("", "soxspipe: error: a: is a bias\nsoxspipe: error: b: is a flat\n")


def test_the_tilde_that_a_shell_leaves(fake_recipes, here, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(here))
    assert command_line.main(["mdark", "a.sof", "--output=~/out"]) == 0
    assert fake_recipes.calls[0]["output"] == str(here / "out")


def test_json_of_one_reduction(fake_recipes, capsys):
    assert command_line.main(["mdark", "a.sof", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "product": "a.fits",
        "files": {"master dark": "a.fits", "qc": "made_qc.json"},
        "qc": [{"name": "PULL STD", "value": 1.0, "unit": "", "range": [0.9, 1.1], "passed": True}],
        "warnings": ["cold pixels not tested"],
    }


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (FrameError(["a: is a bias", "b: is a flat"]), 2, ["a: is a bias", "b: is a flat"]),
        (ProductError("out: no space left"), 1, ["out: no space left"]),
        (OSError(28, "No space left on device", "x.fits"), 1, ["x.fits: No space left on device"]),
        (OSError("odd"), 1, ["OSError: odd: a fault of soxspipe, please report it with what -v -v prints"]),
        (MemoryError(), 1, ["not enough memory"]),
        (KeyError("x"), 1, ["KeyError: 'x': a fault of soxspipe, please report it with what -v -v prints"]),
        (FrameError([]), 2, ["FrameError: a fault of soxspipe, please report it with what -v -v prints"]),
    ],
)
def test_an_error_is_one_line_a_fault(error, code, lines, fake_recipes, capsys):
    fake_recipes.raises = {"a.sof": error}
    assert command_line.main(["mdark", "a.sof", "--json", "-q"]) == code
    assert capsys.readouterr() == ("", "".join(f"soxspipe: error: {line}\n" for line in lines))


def test_one_failed_reduction_does_not_stop_the_others(fake_recipes, capsys):
    fake_recipes.raises = {"b.sof": SettingsError("b.sof: is empty"), "c.sof": RuntimeError("odd")}
    assert command_line.main(["mdark", "a.sof", "b.sof", "c.sof", "d.sof", "-q"]) == 1
    out, err = capsys.readouterr()
    assert out == "a.fits\nd.fits\n"
    assert [line[:36] for line in err.splitlines()] == [
        "soxspipe: error: b.sof: is empty",
        "soxspipe: error: RuntimeError: odd: ",
    ]


def test_json_of_several_reductions_is_a_list_in_their_order(fake_recipes, capsys):
    fake_recipes.raises = {"b.sof": FrameError(["x", "y"])}
    assert command_line.main(["mdark", "a.sof", "b.sof", "c.sof", "--json"]) == 1
    first, second, third = json.loads(capsys.readouterr().out)
    assert (first["product"], third["product"]) == ("a.fits", "c.fits")
    assert second == {"product": None, "files": {}, "qc": [], "warnings": [], "errors": ["x", "y"]}


@pytest.mark.parametrize("flags", [[], ["-v", "-v"], ["--json"], ["-q"]])
def test_several_processes_say_what_one_would(flags, fake_recipes, monkeypatch, capsys):
    monkeypatch.setattr(fundamentals_adapter, "elapsed_words", lambda start_s, end_s: "12s")
    fake_recipes.raises = {"a.sof": FrameError("bad"), "d.sof": SettingsError("d.sof: is empty"), "f.sof": OSError("o")}
    names = [f"{letter}.sof" for letter in "abcdefgh"]
    page = {}
    for workers in (1, 2, 3, 20):
        assert command_line.main(["mdark", *names, *flags, f"--workers={workers}"]) == 1
        out, err = capsys.readouterr()
        # of a traceback the lines of files lead through another function
        page[workers] = out, [line for line in err.splitlines() if not line.startswith(" ")]
    assert page[1] == page[2] == page[3] == page[20]
    assert len(page[1][0].split()) >= 5


def test_a_reduction_whose_process_dies_is_told_and_the_others_are_finished(fake_recipes, monkeypatch, capsys):
    make = fake_recipes.soxs_mdark.produce_product
    parent = os.getpid()

    def die_of_it(recipe):
        if recipe.name in {"b.sof", "['x.fits', 'y.fits']"}:
            assert os.getpid() != parent
            os.kill(os.getpid(), signal.SIGKILL)
        return make(recipe)

    monkeypatch.setattr(fake_recipes.soxs_mdark, "produce_product", die_of_it)
    assert command_line.main(["mdark", "a.sof", "b.sof", "x.fits", "c.sof", "y.fits", "--workers=2", "-q"]) == 1
    out, err = capsys.readouterr()
    assert out == "a.fits\nc.fits\n"
    assert err.splitlines() == [
        f"soxspipe: error: {name}: its process was killed: where memory is short, choose --workers=1"
        for name in ("b.sof", "x.fits")
    ]


def test_verbosity(fake_recipes, monkeypatch, capsys):
    monkeypatch.setattr(fundamentals_adapter, "elapsed_words", lambda start_s, end_s: "12s")
    fake_recipes.raises = {"bad.sof": FrameError("bad")}
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


def test_warnings_of_other_packages_go_to_the_log(fake_recipes, monkeypatch, capsys):
    import warnings

    def warn():
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("odd\ncard", stacklevel=2)
        return FakeProduct("a.fits")

    monkeypatch.setattr(fake_recipes.soxs_mdark, "produce_product", lambda self: warn())
    assert command_line.main(["mdark", "a.sof"]) == 0
    assert capsys.readouterr() == ("a.fits\n", "")
    assert command_line.main(["mdark", "a.sof", "-v"]) == 0
    assert "UserWarning: odd\\ncard\n" in capsys.readouterr().err


def test_no_colour_and_no_progress_away_from_a_terminal(fake_recipes, monkeypatch, capsys):
    fake_recipes.raises = {"b.sof": FrameError("bad")}
    command_line.main(["mdark", "a.sof", "b.sof"])
    assert "\x1b" not in capsys.readouterr().err


FAKE_RUN = """
import os, signal, sys, time, types
from pathlib import Path
fake = types.ModuleType("soxspipe.recipes")
class soxs_mdark:
    def __init__(self, frames, progress=None, **_):
        self.frames, self.progress = frames, progress
    def produce_product(self):
        if self.frames == "fails.sof":
            raise ValueError("odd")
        if self.frames == "waits.sof":
            try:
                os.write(1, b"ready\\n")
                time.sleep(30)
            finally:
                time.sleep(0.3)
                Path(f"cleaned by {os.getpid()}").touch()
        for done in range(1, 4):
            if self.progress:
                self.progress(done, 3)
                time.sleep(0.15)
        return types.SimpleNamespace(
            path=self.frames + ".fits", files={}, warnings=(), qc_records=lambda: []
        )
fake.soxs_mdark = soxs_mdark
sys.modules["soxspipe.recipes"] = fake
signal.signal(signal.SIGINT, signal.default_int_handler)
from soxspipe.__main__ import main
main()
"""


def fake_run(*arguments, **options):
    """Start the command line with a fake recipe, which waits where its input is waits.sof."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(FAKE_RUN), *arguments], env=environment, **options)


@pytest.mark.parametrize(
    ("signum", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_signals_stop_a_fake_recipe_after_its_cleaning_up(signum, code, word, here):
    with fake_run("mdark", "waits.sof", "other.sof", cwd=here) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signum)
        process.send_signal(signum)  # impatience does not break the cleaning up
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (code, "", f"soxspipe: error: {word}\n")
    assert len(list(here.glob("cleaned by *"))) == 1


def test_signals_stop_all_processes_after_their_cleaning_up(here):
    with fake_run("mdark", "first.sof", "waits.sof", "waits.sof", "other.sof", "--workers=2", cwd=here) as process:
        assert [process.stdout.readline() for _ in range(3)] == ["first.sof.fits\n", "ready\n", "ready\n"]
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (143, "", "soxspipe: error: terminated\n")
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
    np.zeros(1).tofile(_StopsWhenLookedAt())  # NumPy 2.4 makes a TypeError of whatever is raised


def _hit_a_callback(_):
    def callback(_):
        os.kill(os.getpid(), signal.SIGTERM)

    frame = FakeProduct("a.fits")
    reference = weakref.ref(frame, callback)
    del frame  # what its callback raises, Python would print and forget
    assert reference() is None
    for _ in range(500):
        time.sleep(0.01)


def _drop_it(_):
    for signum in (signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(BaseException):  # as extension modules of Cython do while they are imported
            os.kill(os.getpid(), signum)
    for _ in range(500):
        time.sleep(0.01)


@pytest.mark.parametrize("make", [_clean_up_badly, _have_numpy_look, _hit_a_callback, _drop_it])
def test_a_stop_stays_one_wherever_it_hits(make, fake_recipes, monkeypatch, capsys):
    monkeypatch.setattr(fake_recipes.soxs_mdark, "produce_product", make)
    assert command_line.main(["mdark", "a.sof", "b.sof", "c.sof", "--workers=2"]) == 143
    assert capsys.readouterr() == ("", "soxspipe: error: terminated\n")
    assert len(fake_recipes.calls) == 1


def test_what_else_cannot_be_raised_is_told_as_before(fake_recipes, monkeypatch, capsys):
    def odd(_):
        raise ValueError("odd")

    def let_a_callback_fail(_):
        frame = FakeProduct("a.fits")
        reference = weakref.ref(frame, odd)
        del frame
        assert reference() is None
        return FakeProduct("a.fits")

    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    hook = sys.unraisablehook
    monkeypatch.setattr(fake_recipes.soxs_mdark, "produce_product", let_a_callback_fail)
    assert command_line.main(["mdark", "a.sof"]) == 0
    assert [type(one.exc_value) for one in told] == [ValueError]
    assert sys.unraisablehook is hook


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
    assert "soxspipe: \x1b[31merror\x1b[0m: ValueError: odd" in on_a_terminal("mdark", "fails.sof", NO_COLOR="")
    assert "soxspipe: error: ValueError: odd" in on_a_terminal("mdark", "fails.sof", NO_COLOR="1")


def test_progress_on_a_terminal():
    assert "mdark:  67% |" in on_a_terminal("mdark", "a.sof")
    assert "%" not in on_a_terminal("mdark", "a.sof", "-q")
    assert "%" not in on_a_terminal("mdark", "a.sof", "-v")


def test_a_reader_who_leaves_is_no_fault(here):
    ours, theirs = os.pipe()
    os.close(ours)
    with fake_run("mdark", "a.sof", "b.sof", stdout=theirs) as process:
        os.close(theirs)
        assert process.communicate(timeout=20)[1] == ""
    assert process.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_log_lines_that_cannot_be_written_are_no_fault(here):
    names = [f"{letter}.sof" for letter in "abcd"]
    with open("/dev/full", "w") as full:
        for workers in ("1", "2"):
            with fake_run("mdark", *names, "-v", f"--workers={workers}", stderr=full, cwd=here) as process:
                out, _ = process.communicate(timeout=20)
            assert (process.returncode, out.split()) == (0, [f"{name}.fits" for name in names])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_results_that_cannot_be_written_are_a_fault():
    with open("/dev/full", "w") as full:
        run = command("settings", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert run.returncode == 1
    assert run.stderr == "soxspipe: error: standard output: No space left on device\n"


def test_names_that_are_no_unicode_reach_standard_output_as_they_are(here):
    with fake_run("mdark", b"\xff.sof", env={"PYTHONIOENCODING": "ascii"}, text=False) as process:
        out, err = process.communicate(timeout=20)
    assert (out, err) == (b"\xff.sof.fits\n", b"")


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
        "soxspipe: error: new/my.yaml: is already there: choose another name or remove it\n",
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


def test_simulate_says_where_its_set_of_files_is(here, capsys):
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
        "soxspipe: error: --frames is 'x', expected a whole number",
        "soxspipe: error: --seed is '1.5', expected a whole number",
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


@pytest.mark.parametrize("command_", ["mdark", "dark-current"])
def test_what_a_recipe_works_with_is_gone_when_it_is_done(command_, darks, here, capsys):
    """Whether or not Python has looked for garbage: to write the product needs memory, and so does the next one."""
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
    arguments = [command_, *inputs, "--workers=1", "--output=made", "-q"]
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments], capture_output=True, text=True, env=environment
    )
    assert run.stdout.splitlines()[1:] == ["0"], run.stdout + run.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_no_product_is_left_when_the_next_is_made(workers, darks, here):
    script = """
    import gc, sys
    from soxspipe import recipes
    from soxspipe.cli import command_line
    make = recipes.soxs_mdark.produce_product
    def look(recipe):
        left = sum(type(o).__name__ in ("RecipeProduct", "ProductFile") for o in gc.get_objects())
        print("left", left, file=sys.stderr)
        return make(recipe)
    recipes.soxs_mdark.produce_product = look
    command_line.main(sys.argv[1:])
    """
    sofs = []
    for i in range(3):
        sofs.append(f"{i}.sof")
        Path(sofs[i]).write_text("\n".join(f"{darks.parent}/{line}" for line in darks.read_text().splitlines()[i:]))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = ["mdark", *sofs, f"--workers={workers}"]
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments], capture_output=True, text=True, env=environment
    )
    assert [line for line in run.stderr.splitlines() if "left" in line] == ["left 0"] * 3, run.stderr


def test_several_reductions_give_the_same_files_beside_each_other(darks, here):
    lines = darks.read_text().splitlines()
    sofs = []
    for i in range(3):  # all frames but one, and so with a first frame, or errors, of their own
        sofs.append(darks.parent / f"{i}.sof")
        sofs[i].write_text("\n".join(lines[:i] + lines[i + 1 :]) + "\n")
    sofs[2].write_text("\n".join(lines[2:]) + "\n")
    pages = {}
    for workers in ("1", "2"):
        run = command("mdark", *map(str, sofs), f"--output={workers}", f"--workers={workers}", cwd=here)
        assert run.returncode == 0, run.stderr
        pages[workers] = run.stdout.replace(f"{workers}/", ""), run.stderr
    assert pages["1"] == pages["2"]
    names = sorted(path.name for path in Path("1").iterdir())
    assert names == sorted(path.name for path in Path("2").iterdir())
    assert len(names) == 3 * 4
    for name in pages["1"][0].split():
        one, two = (fits.open(f"{folder}/{name}") for folder in "12")
        with one, two:
            assert one[0].header["DATAMD5"] == two[0].header["DATAMD5"]
            assert fits.FITSDiff(one, two, ignore_keywords=["DATE", "CHECKSUM", "DATASUM"]).identical


def test_warnings_of_a_reduction_are_told_once(darks, here):
    Path("my.yaml").write_text("quality: {RON RAW: [null, 0]}\n")
    run = command("mdark", str(darks), "--settings=my.yaml", cwd=here)
    assert run.returncode == 0, run.stderr
    assert [("RON RAW" in line) for line in run.stderr.splitlines()].count(True) >= 1
    assert len(set(run.stderr.splitlines())) == len(run.stderr.splitlines())
    assert all(line.startswith("soxspipe: warning: ") for line in run.stderr.splitlines())


def test_the_demo_prints_its_product_last(here, monkeypatch, capsys):
    import functools

    from soxspipe.simulation import simulate

    # the demo's darks, but small
    monkeypatch.setattr(simulate, "DarkSimulation", functools.partial(simulate.DarkSimulation, shape=(128, 128)))
    assert command_line.main(["demo"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "soxspipe-demo/darks.sof"
    assert Path(out[-1]).parent == Path("soxspipe-demo/reduced")
    assert Path(out[-1]).is_file()
    assert command_line.main(["demo"]) == 2
    assert capsys.readouterr().out == ""
    assert command_line.main(["demo", "soxspipe-demo", "--overwrite"]) == 0
