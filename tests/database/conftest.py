import glob
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from soxspipe.recipes import soxs_mdark
from soxspipe.simulation import DarkSimulation, simulate_darks

PASSWORD = "not to be shown"


@pytest.fixture(scope="session")
def master(tmp_path_factory):
    """Return a master dark of small frames; copy it before a change."""
    folder = tmp_path_factory.mktemp("master")
    made = simulate_darks(folder / "raw", DarkSimulation(frames=3, shape=(128, 128)))
    return soxs_mdark(str(made.sof), output_dir=folder / "reduced").produce_product().path


def server_programs():
    """Return the folder of the newest PostgreSQL server that is installed; None where there is none."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb")) or [shutil.which("initdb")]
    return None if found[-1] is None else Path(found[-1]).parent


@pytest.fixture(scope="session")
def server():
    """Start a PostgreSQL server on loopback, and yield a function that runs SQL and the URL without a database."""
    programs = server_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    as_user = []
    folder = Path(tempfile.mkdtemp(prefix="soxspipe-postgresql-"))
    if os.getuid() == 0:  # the server refuses to run as root
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)

    def run(program, *arguments):
        command = [*as_user, programs / program, *arguments]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=120)

    data = folder / "data"
    run("initdb", "-D", data, "-U", "tester", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "-N")
    # 'pg_ctl start' chooses no free port: try some
    for _ in range(20):
        port = 20000 + secrets.randbelow(20000)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        try:
            run("pg_ctl", "start", "-w", "-D", data, "-l", folder / "log", "-o", options)
            break
        except subprocess.CalledProcessError:
            time.sleep(0.2)
    else:
        pytest.fail((folder / "log").read_text())
    try:
        yield f"postgresql://tester:{quote(PASSWORD)}@127.0.0.1:{port}"
    finally:
        run("pg_ctl", "stop", "-m", "immediate", "-D", data)
        shutil.rmtree(folder)


@pytest.fixture
def postgresql(server):
    """Return the URL of an empty database on a PostgreSQL server."""
    import psycopg

    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request, tmp_path):
    """Return a database that does not exist yet, or is empty."""
    if request.param == "sqlite":
        return str(tmp_path / "quality" / "soxspipe.db")
    return request.getfixturevalue("postgresql")
