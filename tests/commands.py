"""A command ``soxspipe`` for the shells of tests, which begins at once: its imports take longer than a small reduction.

A server imports all that commands need. The command sends it its arguments, folder, environment and open files, and
the server forks a process that runs them as the entry point does. Commands of tests have one worker, since a server
of processes would import everything once more for each command.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: The command: it needs no package.
CLIENT = f"""#!{sys.executable} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(os.path.dirname(os.path.abspath(__file__)) + "/socket")
    request = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(request).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(request)
    sys.exit(int(server.recv(8) or 1))
"""
IMPORTED = (
    "ccdproc", "astropy.nddata", "astropy.table", "astropy.visualization", "bokeh.plotting", "bokeh.resources",
    "docopt", "fundamentals.times", "matplotlib.backends.backend_agg", "matplotlib.figure", "rich.table", "scipy.stats",
    "sqlalchemy.dialects.sqlite", "soxspipe.recipes", "soxspipe.simulation", "soxspipe.report.page",
    "soxspipe.trend.page", "soxspipe.cli.command_line", "soxspipe.cli.reduce", "soxspipe.database.quality_database",
)  # fmt: skip


@pytest.fixture(scope="session")
def shell_path(tmp_path_factory):
    """Return a PATH on which the command ``soxspipe`` begins at once, and ``python`` is the one of the tests."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "soxspipe"
    command.write_text(CLIENT)
    command.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.commands", folder / "socket"],
        cwd=ROOT, env={**os.environ, "LC_ALL": "C.UTF-8"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline() == b"ready\n"
    yield os.pathsep.join([str(folder), os.path.dirname(sys.executable), os.environ["PATH"]])
    process.communicate()


def serve(path: str) -> None:
    """Fork a process for each command, until the standard input ends."""
    for name in IMPORTED:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while select.select([server, sys.stdin], [], [])[0] == [server]:
            client, _ = server.accept()
            with client:
                size, files, *_ = socket.recv_fds(client, 4, 3)
                request = client.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
                if (process := os.fork()) == 0:
                    run(*json.loads(request), files)
                for file in files:
                    os.close(file)
                code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
                client.sendall(str(code if code >= 0 else 128 - code).encode())


def run(arguments: list[str], folder: str, environment: dict[str, str], files: list[int]) -> None:
    """Run a command, and leave the process."""
    code = 99
    try:
        for standard, file in enumerate(files):
            os.dup2(file, standard)
        sys.argv = arguments
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        code = entry.run()
        sys.stdout.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    from soxspipe import parallel

    parallel.default_workers = lambda: 1
    from soxspipe import __main__ as entry

    serve(sys.argv[1])
