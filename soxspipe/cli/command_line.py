"""The command line: usage text, dispatch and exit codes; with `soxspipe.cli.terminal` the only room that prints."""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..exceptions import CommandLineError, ProductExistsError, SoxspipeError
from ..text import escape, nearest
from ..version import __version__
from .terminal import Terminal, Terminated, deliver, fault_lines

if TYPE_CHECKING:
    from ..settings import Settings

__all__ = ["USAGE", "main"]

USAGE = """\
soxspipe: from raw darks of SOXS and X-shooter to master darks that can be trusted.

Usage:
  soxspipe mdark <inputFrames>... [--output=DIR] [--settings=FILE] [--overwrite] [--json]
                                  [--workers=N] [-q | -v...]
  soxspipe mdark --rerun=PRODUCT [--raw=DIR] [--output=DIR] [--overwrite] [--json]
                                 [--workers=N] [-q | -v...]
  soxspipe dark-current <master>... [--output=DIR] [--settings=FILE] [--overwrite] [--json]
                                    [--workers=N] [-q | -v...]
  soxspipe simulate <directory> [--instrument=NAME] [--arm=ARM] [--kind=KIND] [--frames=N]
                                [--exptime=S] [--ndit=N] [--shape=SIZE] [--binning=SIZE]
                                [--start=TIME] [--seed=N] [--detector-seed=N] [--overwrite]
                                [-q | -v...]
  soxspipe demo [<directory>] [--overwrite] [-q | -v...]
  soxspipe settings [--output=FILE] [--schema]
  soxspipe (--help | --version)

Commands:
  mdark         reduce raw darks to a master dark
  dark-current  fit the dark rate of every pixel to master darks of different exposures
  simulate      write seeded raw darks, with a truth file
  demo          simulate ten NIR darks of SOXS and reduce them
  settings      print or write the default settings, ready to edit

Arguments:
  <inputFrames>  set-of-files files (.sof) and directories, each a reduction of its own, or the FITS
                 files of one reduction
  <master>       likewise: the master darks of a fit, at least two
  <directory>    where simulated frames go; for the demo, the product too (soxspipe-demo)

Options:
  --output=DIR       folder of the products, made when missing (the working directory);
                     for the command settings, a new file
  --settings=FILE    settings that differ from the defaults
  --rerun=PRODUCT    make a master dark again, of what its header names, and say what differs
  --raw=DIR          where the input of a rerun is looked for, subfolders too; after it beside the
                     product and in the working directory
  --overwrite        replace files that are there already
  --json             print one JSON document: product, files, qc, warnings
  --schema           of the command settings: the JSON schema of the settings file, for editors
  --workers=N        threads or processes for the pixels, or of several reductions one for each
                     (2, where there are two processors)
  -q, --quiet        errors only
  -v, --verbose      parameters and a line for each step; -v -v also shows tracebacks
  -h, --help         print this text
  --version          print the version

Options of simulate:
  --instrument=NAME  SOXS or XSHOOTER (SOXS)
  --arm=ARM          NIR, VIS, UVB or ACQ (NIR)
  --kind=KIND        DARK or BIAS (DARK)
  --frames=N         number of frames (10)
  --exptime=S        exposure time of one integration, second (300)
  --ndit=N           integrations averaged in a frame, NIR only (1)
  --shape=SIZE       rows x columns of a raw frame, e.g. 128x128 (the whole detector)
  --binning=SIZE     binning in y and x, CCDs only, e.g. 2x1 (1x1)
  --start=TIME       start of the first frame, UTC (2026-03-01T10:00:00)
  --seed=N           same seed, same pixels (20260301)
  --detector-seed=N  with another --seed: the same detector at another time (that of --seed)

Exit codes:
  0    done
  1    a recipe failed, of several reductions at least one, and the others are finished; or a rerun
       has other pixels
  2    the command line, the settings or the input was wrong, or the product is already there
  129  terminated: its terminal was closed
  130  interrupted
  143  terminated

Results go to standard output; log lines, progress and errors to standard error.
"""

COMMANDS = ("mdark", "dark-current", "simulate", "demo", "settings")

#: Commands that run a recipe: its name, and the argument that holds its input.
RECIPES = {"mdark": ("soxs_mdark", "<inputFrames>"), "dark-current": ("soxs_dark_current", "<master>")}

#: New objects after which garbage is looked for.
GARBAGE_OBJECTS = 100_000
#: More processes than any machine has processors; each holds a band of all frames.
MOST_WORKERS = 1024

_log = logging.getLogger("soxspipe")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name. Those of this process when left out; it is taken to end then.

    Returns
    -------
    int
        The exit code; the usage text lists them.
    """
    # its other threads double the cost of importing NumPy, and no matrix here is large
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    home = os.environ.get("HOME", "")
    if os.path.isdir(home) and not os.access(home, os.X_OK):  # another user's, as sudo may leave it: astropy would fail
        del os.environ["HOME"]
    # imports make half a million objects that stay: to look for garbage among them costs a tenth of their time
    thresholds = gc.get_threshold()
    gc.set_threshold(GARBAGE_OBJECTS)
    terminal, before = Terminal(), (_log.level, _log.propagate)
    _log.addHandler(terminal)
    _log.setLevel(logging.DEBUG)  # the log file may want more than the terminal
    _log.propagate = False
    try:
        with terminal.stoppable(to_the_end=argv is None), warnings.catch_warnings():
            warnings.showwarning = _log_warning  # type: ignore[assignment]
            try:
                return _run(list(sys.argv[1:] if argv is None else argv), terminal)
            except Exception as error:  # noqa: BLE001 - whatever it is, one line and an exit code
                return terminal.report(error)
    except Terminated as stop:
        _log.error("%s", stop)
        return stop.exit_code
    finally:
        _log.removeHandler(terminal)
        _log.setLevel(before[0])
        _log.propagate = before[1]
        gc.set_threshold(*thresholds)


def _log_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    """Send warnings of other packages to the log; what a user must know, soxspipe says itself."""
    _log.info("%s: %s", category.__name__, message)


def _run(argv: list[str], terminal: Terminal) -> int:
    options = _parsed(argv, terminal)
    if isinstance(options, int):
        return options
    terminal.set_verbosity(options["--quiet"], options["--verbose"])
    if options["--rerun"] is not None:
        return _rerun(options, terminal)
    for command in RECIPES:
        if options[command]:
            return _recipe(command, options, terminal)
    for command, work in (("simulate", _simulate), ("demo", _demo)):
        if options[command]:
            return work(options, terminal)
    return _settings(options)


def _parsed(argv: list[str], terminal: Terminal) -> dict[str, Any] | int:
    """Return the options, or the exit code when nothing is left to do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # docopt 0.6.2 has invalid escapes in its strings
        from docopt import DocoptExit, docopt
    page = io.StringIO()
    try:
        with contextlib.redirect_stdout(page):
            return dict(docopt(USAGE, argv, version=f"soxspipe {__version__}"))
    except DocoptExit as error:
        said = str(error.code).removesuffix(error.usage).strip()
        _log.error("%s", said or _misfit(argv))
        print(error.usage, file=terminal.stream)
        return 2
    except SystemExit:
        deliver(page.getvalue().rstrip("\n"))
        return 0


def _misfit(argv: list[str]) -> str:
    """Say why arguments do not fit the usage, where docopt does not."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    known = sorted({word.strip("[](),=") for word in USAGE.replace("=", " ").split() if word.startswith(("--", "[--"))})
    for name in (word.partition("=")[0] for word in words if word.startswith("--")):
        if not any(option.startswith(name) for option in known):
            return f"unknown option '{name}': {nearest(name, known)}"
    command = next((word for word in words if not word.startswith("-")), None)
    if command in COMMANDS:
        return f"{command}: an argument is missing, or one too many: expected the usage below"
    found = "no command" if command is None else f"unknown command '{command}'"
    return f"{found}: {nearest(command or '', COMMANDS)}"


def _path(text: str, what: str) -> str:
    """Return a path of the command line; a shell leaves the ``~`` in ``--output=~/dir`` to us."""
    if not text:
        raise CommandLineError(f"{what} is empty: expected the name of a file or folder")
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text):
        raise CommandLineError(f"{what} '{escape(text)}' has control characters: rename it")
    return os.path.expanduser(text)


def _workers(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise CommandLineError(f"--workers is '{escape(text)}', expected a whole number from 1 to {MOST_WORKERS}")
    return int(text)


def _reductions(arguments: Sequence[str]) -> list[str | list[str]]:
    """Return the input of each reduction: a set-of-files file, a directory, or all FITS files together."""
    paths = [_path(argument, "input") for argument in arguments]
    reductions: list[str | list[str]] = []
    frames: list[str] = []
    for path in paths:
        if path.lower().endswith(".sof") or os.path.isdir(path):
            reductions.append(path)
        else:
            if not frames:
                reductions.append(frames)
            frames.append(path)
    return reductions


def _reduce(
    command: str,
    frames: str | list[str],
    output: str,
    overwrite: bool,
    settings: Settings | None,
    workers: int | None,
    terminal: Terminal,
) -> Any:
    """Run the recipe of a command on one input and return its product."""
    recipe = getattr(importlib.import_module("soxspipe.recipes"), RECIPES[command][0])
    start_s = time.time()
    with terminal.progress(command) as progress:
        product = recipe(
            frames, settings=settings, output_dir=output, overwrite=overwrite, workers=workers, progress=progress
        ).produce_product()
    if terminal.level <= logging.INFO:
        from .fundamentals_adapter import elapsed_words

        _log.info("%s: reduced in %s", product.path, elapsed_words(start_s, time.time()))
    return product


def _recipe(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    arguments = options[RECIPES[command][1]]
    if "--" in arguments:  # docopt 0.6.2 leaves it among them
        arguments.remove("--")
    reductions = _reductions(arguments)
    output = "." if options["--output"] is None else _path(options["--output"], "--output")
    settings = None
    if options["--settings"] is not None:
        from ..settings import Settings

        settings = Settings.load(_path(options["--settings"], "--settings"))
    from ..execution.batch import Outcome, outcomes
    from ..parallel import default_workers

    workers = _workers(options["--workers"]) or default_workers()

    def failed(error: Exception) -> Outcome:
        nothing: dict[str, Any] = {"product": None, "files": {}, "qc": [], "warnings": []}
        return Outcome(nothing | {"errors": list(fault_lines(error))}, terminal.report(error))

    def reduce(number: int, workers: int) -> Outcome:
        frames = reductions[number]
        try:
            product = _reduce(command, frames, output, options["--overwrite"], settings, workers, terminal)
            return Outcome(_document(product), 0)
        except Exception as error:  # noqa: BLE001 - the others are finished whatever happens to one
            return failed(error)

    def reduce_aside(number: int, workers: int) -> Outcome:
        with terminal.kept() as page:
            outcome = reduce(number, workers)
        return replace(outcome, said=page.getvalue())

    def lost(number: int, reason: str) -> Outcome:
        frames = reductions[number]
        name = frames if isinstance(frames, str) else frames[0]
        return failed(SoxspipeError(f"{name}: {reason}"))

    documents, codes = [], []
    with contextlib.closing(outcomes(reduce, reduce_aside, lost, len(reductions), workers)) as all_of_them:
        for outcome in all_of_them:
            terminal.say(outcome.said)
            documents.append(outcome.document)
            codes.append(outcome.code)
            if not outcome.code and not options["--json"]:
                try:
                    deliver(outcome.document["product"])
                except OSError as error:
                    codes[-1] = terminal.report(error)
    if options["--json"] and (len(codes) > 1 or not any(codes)):
        import json

        deliver(json.dumps(documents if len(codes) > 1 else documents[0], indent=2, allow_nan=False))
    return codes[0] if len(codes) == 1 else int(any(codes))


def _rerun(options: dict[str, Any], terminal: Terminal) -> int:
    from ..recipes.rerun import rerun

    raw = None if options["--raw"] is None else _path(options["--raw"], "--raw")
    output = "." if options["--output"] is None else _path(options["--output"], "--output")
    product, workers = _path(options["--rerun"], "--rerun"), _workers(options["--workers"])
    with terminal.progress("mdark") as progress:
        again = rerun(product, raw, output, overwrite=options["--overwrite"], workers=workers, progress=progress)
    document = _document(again.product)
    if options["--json"]:
        import json

        document["rerun"] = {
            "of": product, "same_pixels": again.same_pixels, "planes": again.planes, "keywords": again.keywords,
        }  # fmt: skip
        deliver(json.dumps(document, indent=2, allow_nan=False))
    else:
        deliver("\n".join([document["product"], *again.planes, *again.keywords]))
    return 0 if again.same_pixels else 1


def _document(product: Any) -> dict[str, Any]:
    """Return what JSON tells of a product; it holds no pixels, so that those can go before the next reduction."""
    return {
        "product": str(product.path),
        "files": {name: str(path) for name, path in product.files.items()},
        "qc": product.qc_records(),
        "warnings": list(product.warnings),
    }


def _pair(text: str) -> tuple[int, ...]:
    return tuple(int(side) for side in text.lower().split("x"))


#: Options of ``simulate``: the parameter behind each, and how its text is read.
SIMULATION: dict[str, tuple[str, Callable[[str], Any], str]] = {
    "--instrument": ("instrument", str.upper, "a name"),
    "--arm": ("arm", str.upper, "a name"),
    "--kind": ("kind", str.upper, "a name"),
    "--frames": ("frames", int, "a whole number"),
    "--exptime": ("exptime_s", float, "a number of seconds"),
    "--ndit": ("ndit", int, "a whole number"),
    "--shape": ("shape", _pair, "rows x columns, such as 128x128"),
    "--binning": ("binning", _pair, "y x x, such as 2x1"),
    "--start": ("start", str, "a date and time"),
    "--seed": ("seed", int, "a whole number"),
    "--detector-seed": ("detector_seed", int, "a whole number"),
}


def _simulate(options: dict[str, Any], terminal: Terminal) -> int:
    directory = _path(options["<directory>"], "directory")
    values, faults = {}, []
    for option, (name, read, expected) in SIMULATION.items():
        text = options[option]
        if text is not None:
            try:
                values[name] = read(text)
            except ValueError:
                faults.append(f"{option} is '{escape(text)}', expected {expected}")
    if faults:
        raise CommandLineError(faults)
    deliver(_simulated(directory, values, options["--overwrite"], terminal))
    return 0


def _simulated(directory: str, values: dict[str, Any], overwrite: bool, terminal: Terminal) -> str:
    """Write simulated darks and return the path of their set of files."""
    from ..simulation.simulate import DarkSimulation, simulate_darks

    simulation = DarkSimulation(**values)
    _log.info("%s", simulation)
    with terminal.progress("simulate") as progress:
        made = simulate_darks(directory, simulation, overwrite=overwrite, progress=progress)
    return str(made.sof)


def _demo(options: dict[str, Any], terminal: Terminal) -> int:
    directory = "soxspipe-demo" if options["<directory>"] is None else _path(options["<directory>"], "directory")
    sof = _simulated(directory, {}, options["--overwrite"], terminal)
    deliver(sof)
    product = _reduce("mdark", sof, os.path.join(directory, "reduced"), options["--overwrite"], None, None, terminal)
    deliver(str(product.path))
    return 0


def _settings(options: dict[str, Any]) -> int:
    from ..settings import Settings, default_settings_text

    text = default_settings_text()
    if options["--schema"]:
        import json

        text = f"{json.dumps(Settings.json_schema(), indent=2)}\n"
    if options["--output"] is None:
        deliver(text.rstrip("\n"))
        return 0
    path = _path(options["--output"], "--output")
    folder, created = os.path.dirname(path) or ".", False
    try:
        os.makedirs(folder, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ProductExistsError(f"{folder}: a file stands where the folder should be: choose another") from error
    try:
        try:
            with open(path, "x", encoding="utf-8") as stream:
                created = True
                stream.write(text)
        except BaseException:
            if created:
                os.unlink(path)
            raise
    except FileExistsError as error:
        raise ProductExistsError(f"{path}: is already there: choose another name or remove it") from error
    except OSError as error:
        from ..products.product_files import storage_fault

        raise storage_fault(path, error, "choose another name") from error
    deliver(path)
    return 0
