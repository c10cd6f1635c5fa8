"""Files of one run get their names together, or none does, however the run ends."""

import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from soxspipe.exceptions import InputError, ProductError, ProductExistsError
from soxspipe.products import atomic_files
from soxspipe.products.atomic_files import AtomicFiles

ROOT = Path(__file__).parents[2]
#: The main file first.
NAMES = ("main", "log", "qc")


def ready(folder, value, names=NAMES):
    """Return files that are ready to be committed."""
    files = AtomicFiles(folder, NAMES, overwrite=True).open()
    for name in names:
        files.write(name, [str(value).encode()])
    return files


def write(folder, value, names=NAMES):
    with ready(folder, value, names) as files:
        files.commit()


def state_of(folder):
    """Return the value in each file of a folder; hidden folders are empty texts."""
    return {path.name: "" if path.is_dir() else path.read_text() for path in folder.iterdir()}


def hidden(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def set_of(value):
    return dict.fromkeys(NAMES, str(value))


# ---- one run


def test_files_appear_together_in_a_new_folder(tmp_path):
    folder = tmp_path / "new" / "folder"
    with ready(folder, 1) as files:
        (name,) = hidden(folder)
        assert name.startswith(".")
        assert name.endswith(".tmp")
        assert list(state_of(folder)) == [name]
        files.commit()
    assert state_of(folder) == set_of(1)


def test_temporary_names_are_random(tmp_path):
    with ready(tmp_path, 1), ready(tmp_path, 2):
        first, second = hidden(tmp_path)
        assert first != second


def test_a_failure_leaves_nothing(tmp_path):
    def fail():
        with ready(tmp_path / "a" / "b", 1):
            raise KeyError("a fault while the files are made")

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_signal_while_the_folder_is_made_leaves_none(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(AtomicFiles, "_recover", interrupt)
    with pytest.raises(KeyboardInterrupt):
        AtomicFiles(tmp_path / "a" / "b", NAMES).open()
    assert list(tmp_path.iterdir()) == []


def test_a_signal_while_the_folder_is_locked_leaves_no_lock(tmp_path, monkeypatch):
    flock = fcntl.flock

    def interrupt(*_):
        monkeypatch.setattr(fcntl, "flock", flock)
        raise KeyboardInterrupt

    def commit(files):
        with files:
            monkeypatch.setattr(fcntl, "flock", interrupt)
            files.commit()

    with pytest.raises(KeyboardInterrupt):
        commit(ready(tmp_path, 1))
    assert list(tmp_path.iterdir()) == []


def test_older_files_are_refused_or_replaced(tmp_path):
    write(tmp_path, 1)
    with pytest.raises(ProductExistsError, match=r"main: exists already and was left alone: choose another folder"):
        AtomicFiles(tmp_path, NAMES).open()
    write(tmp_path, 2)
    assert state_of(tmp_path) == set_of(2)


def test_any_older_file_counts(tmp_path):
    (tmp_path / "qc").write_text("1")
    with pytest.raises(ProductExistsError, match=r"qc: exists already and was left alone: my remedy"):
        AtomicFiles(tmp_path, NAMES, remedy="my remedy").open()


def test_older_files_go_also_where_the_new_set_has_fewer(tmp_path):
    write(tmp_path, 1)
    write(tmp_path, 2, ("main", "log"))
    assert state_of(tmp_path) == {"main": "2", "log": "2"}


def test_folders_and_dangling_links_are_in_the_way(tmp_path):
    (tmp_path / "log").mkdir()
    with pytest.raises(ProductExistsError, match="log: is a folder, expected room for a file"):
        AtomicFiles(tmp_path, NAMES, overwrite=True).open()
    (tmp_path / "log").rmdir()
    (tmp_path / "log").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ProductExistsError):
        AtomicFiles(tmp_path, NAMES).open()


def test_names_that_no_folder_can_have(tmp_path):
    (tmp_path / "file").write_text("1")
    (tmp_path / "loop").symlink_to("loop")
    for name, reason in {
        "file": "File exists", "file/a": "Not a directory", "x" * 300: "File name too long",
        "loop/a": "Too many levels of symbolic links",
    }.items():  # fmt: skip
        with pytest.raises(InputError) as refusal:
            AtomicFiles(tmp_path / name, NAMES).open()
        assert str(refusal.value) == (f"{tmp_path / name}: cannot be a folder ({reason}): choose another output folder")


def test_a_name_that_is_not_of_the_set_is_a_fault(tmp_path):
    with AtomicFiles(tmp_path, NAMES) as files, pytest.raises(ValueError, match="other is not a file of this set"):
        files.write("other", [])


# ---- disks that fail


def test_every_failed_write_is_an_error(tmp_path):
    """The limit on the size of a file fails the write that reaches it, and those after it."""
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from tests.products.test_atomic_files import AtomicFiles, NAMES\n"
        "for limit in (0, 1, 4095, 4096, 8191, 70000):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))\n"
        "    try:\n"
        "        with AtomicFiles(Path(sys.argv[1]), NAMES) as files:\n"
        "            files.write('main', [b'x' * 8192] * 8)\n"
        "            files.commit()\n"
        "    except ValueError as error:\n"
        "        print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert (
        run.stdout.splitlines()
        == [f"{tmp_path}: File too large: nothing was written; choose another output folder"] * 5
    ), run.stderr
    assert state_of(tmp_path) == {"main": "x" * 65536}


@pytest.mark.parametrize("damage", [lambda fd: os.truncate(fd, 4), lambda fd: os.pwrite(fd, b"0", 2),
                                    lambda fd: os.pwrite(fd, b"6", 5)])  # fmt: skip
def test_a_file_with_other_bytes_on_disk_is_an_error(tmp_path, monkeypatch, damage):
    def lose_bytes(descriptor):
        if os.fstat(descriptor).st_size == 5:
            damage(descriptor)

    with AtomicFiles(tmp_path, NAMES) as files, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lose_bytes)
        with pytest.raises(ProductError, match="log has other bytes on disk than it should have: nothing was written"):
            files.write("log", [b"12", b"345"])


def link_to(source, target):
    target.symlink_to(source)


def rename_to(source, target):
    source.replace(target)
    source.symlink_to(target)


@pytest.mark.parametrize("link", [os.link, link_to, rename_to])
def test_an_input_is_never_replaced(tmp_path, link):
    """Neither the file nor a link to it, in either direction, also where the link is made during the run."""
    used, folder = tmp_path / "used", tmp_path / "out"
    used.write_text("input")
    folder.mkdir()
    files = AtomicFiles(folder, NAMES, overwrite=True, inputs=["missing", used])
    with files:
        files.write("main", [b"1"])
        link(used, folder / "qc")
        with pytest.raises(ProductExistsError, match=r"qc: is the input .*used, which is never replaced: choose"):
            files.commit()
    with pytest.raises(ProductExistsError, match=r"qc: is the input .*used, which is never replaced: choose"):
        files.open()
    assert state_of(folder) == {"qc": "input"}


def test_a_folder_that_appears_during_the_run_is_not_removed(tmp_path):
    with ready(tmp_path, 1) as files:
        (tmp_path / "log").mkdir()
        with pytest.raises(ProductExistsError, match="log: is a folder"):
            files.commit()
    assert state_of(tmp_path) == {"log": ""}


def fail_at(monkeypatch, step, function="replace"):
    """Let the n-th call of a function of `os` fail."""
    original, count = getattr(os, function), iter(range(10**6))

    def failing(*arguments, **options):
        if next(count) == step:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        return original(*arguments, **options)

    monkeypatch.setattr(os, function, failing)


@pytest.mark.parametrize("function", ["replace", "fsync", "unlink"])
@pytest.mark.parametrize("older", [False, True])
def test_any_step_that_fails_leaves_the_older_set_whole(tmp_path, monkeypatch, function, older):
    """An older file that cannot be replaced is such a step."""
    finished = False
    for step in range(30):
        folder = tmp_path / str(step)
        if older:
            write(folder, 1)
        with contextlib.suppress(ProductError), ready(folder, 2) as files, monkeypatch.context() as patch:
            fail_at(patch, step, function)
            files.commit()
            finished = True
        if finished:
            break
        state = state_of(folder) if folder.exists() else {}
        assert state == (set_of(1) if older else {})
    assert finished
    assert step >= {"replace": 3, "fsync": 5, "unlink": 1}[function]
    with AtomicFiles(folder, ["another"]):  # a lock file that could not be removed is removed by the next run
        pass
    assert state_of(folder) == set_of(2)


def test_what_cannot_be_undone_is_left_to_the_next_run(tmp_path, monkeypatch):
    write(tmp_path, 1)
    with ready(tmp_path, 2) as files, monkeypatch.context() as patch:

        def broken(source, target):
            if Path(target).name == "main":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return replace(source, target)

        replace = os.replace
        patch.setattr(os, "replace", broken)
        with pytest.raises(ProductError, match="Input/output error: the set of files is incomplete: the next run"):
            files.commit()
    assert "main" not in state_of(tmp_path)
    with pytest.raises(ProductExistsError):
        AtomicFiles(tmp_path, NAMES).open()
    assert state_of(tmp_path) == set_of(1)


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs the names of open files")
def test_what_reaches_the_disk_in_which_order(tmp_path, monkeypatch):
    """Files, journal and folders are synced before older files are moved away, folders after each group of renames."""
    write(tmp_path, 1)
    steps = []
    fsync, replace, unlink = os.fsync, Path.replace, Path.unlink

    def sync(descriptor):
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        steps.append("sync" if os.path.isdir(path) else f"sync {os.path.basename(path)}")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", lambda *a: (steps.append(f"{a[0].name} > {a[1].name}"), replace(*a)))
    monkeypatch.setattr(Path, "unlink", lambda *a: (steps.append(f"unlink {a[0].name}"), unlink(*a)))
    with ready(tmp_path, 2) as files:
        assert steps == ["unlink .soxspipe-lock.tmp", *[f"sync {name}" for name in NAMES]]
        steps.clear()
        files.commit()
    away = [f"{name} > {name}.older" for name in NAMES]
    renames = [f"{name} > {name}" for name in reversed(NAMES)]
    syncs = ["sync", "sync"]
    assert steps == [
        "sync journal", *syncs, *away, *syncs, *renames, *syncs, "unlink journal", "sync", "unlink .soxspipe-lock.tmp",
    ]  # fmt: skip


def test_folders_that_cannot_be_synced_go_without(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse_folders(descriptor):
        if os.path.isdir(f"/dev/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    write(tmp_path / "new", 1)
    assert state_of(tmp_path / "new") == set_of(1)


# ---- signals and dead runs


@pytest.mark.parametrize("older", [False, True])
def test_signals_wait_while_files_get_their_names(tmp_path, monkeypatch, older):
    if older:
        write(tmp_path, 1)
    replace, renamed = Path.replace, []

    def signal_first(self, target):
        if not renamed:
            signal.raise_signal(signal.SIGINT)
        renamed.append(target.name)
        return replace(self, target)

    with ready(tmp_path, 2) as files, monkeypatch.context() as patch:
        patch.setattr(Path, "replace", signal_first)
        with pytest.raises(KeyboardInterrupt):
            files.commit()
    assert renamed[-3:] == ["qc", "log", "main"]
    assert state_of(tmp_path) == set_of(2)


#: Writes a set of twos over one of ones where asked, and is killed at each step of its commit; reports the states.
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.products.test_atomic_files import AtomicFiles, hidden, ready, state_of, write

def run(folder, kill_at):
    def step(call):
        def instead(*arguments, **options):
            if (count := next(steps)) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)
        return instead
    with ready(folder, 2) as files:
        steps = iter(range(10**6))
        for name in ("replace", "unlink", "fsync", "rmdir"):
            setattr(os, name, step(getattr(os, name)))
        files.commit()

for kill_at in range(40):
    folder = Path(sys.argv[1], str(kill_at))
    if int(sys.argv[2]):
        write(folder, 1)
    if (child := os.fork()) == 0:
        run(folder, kill_at)
        os._exit(0)
    killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    before = {name: value for name, value in state_of(folder).items() if name[0] != "."}
    with AtomicFiles(folder, ["another"]):
        pass
    print(killed, before, state_of(folder), sep=";")
    if not killed:
        break
"""


@pytest.mark.parametrize("older", [False, True])
def test_killed_at_any_step_of_the_commit_the_set_is_old_or_new_after_the_next_run(tmp_path, older):
    """At no moment files of both sets have their names, and the main file is never there without the others."""
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(int(older))],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    steps = [tuple(map(eval, line.split(";"))) for line in run.stdout.splitlines()]
    old, new = set_of(1) if older else {}, set_of(2)
    assert [killed for killed, *_ in steps] == [True] * (len(steps) - 1) + [False]
    assert all(after in (old, new) for *_, after in steps)
    seen = [before for _, before, _ in steps]
    assert all(len(set(before.values())) <= 1 for before in seen)
    assert all(len(before) == 3 for before in seen if "main" in before)
    assert sum(before not in (old, new) for before in seen) >= (5 if older else 2)


def test_temporary_files_of_dead_runs_only_are_removed(tmp_path):
    script = (
        "import sys; from pathlib import Path; from tests.products.test_atomic_files import ready\n"
        "files = ready(Path(sys.argv[1]), 2)\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )

    def start():
        command = [sys.executable, "-c", script, str(tmp_path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        process.stdout.readline()
        return process

    (tmp_path / ".of-another-program.tmp").write_text("")
    with start() as dead:
        dead.kill()
    dead_folder = next(name for name in hidden(tmp_path) if "run" in name)
    with start() as living:
        assert dead_folder not in hidden(tmp_path)  # that run has begun since
        (living_folder,) = (name for name in hidden(tmp_path) if "run" in name)
        with AtomicFiles(tmp_path, NAMES):
            assert living_folder in hidden(tmp_path)
        living.kill()
    write(tmp_path, 3)
    assert state_of(tmp_path) == {".of-another-program.tmp": "", **set_of(3)}


def dead_run(folder, journal, **files):
    """Make the hidden folder of a dead run."""
    path = folder / atomic_files.RUN_FOLDER.format("0123456789abcdef")
    path.mkdir()
    for name, text in files.items():
        (path / name).write_text(text)
    if journal is not None:
        (path / atomic_files.JOURNAL).write_bytes(journal)
    return path


@pytest.mark.parametrize(
    "journal",
    [None, b"", b'{"log": tr', b'{"../log": false}', b'{"..": false}', b'{"": false}', b'{"log\\u0000": false}',
     b'{"log": 1}', b"[" * 100_000, b"[1]", b"\xff"],
)  # fmt: skip
def test_a_journal_that_is_not_whole_moves_no_file(tmp_path, journal):
    write(tmp_path, 1)
    dead_run(tmp_path, journal, log="2")
    with AtomicFiles(tmp_path, ["another"]):
        pass
    assert state_of(tmp_path) == set_of(1)


def test_a_dead_run_that_cannot_be_undone_stops_the_next(tmp_path, monkeypatch):
    dead_run(tmp_path, json.dumps({"main": True, "log": False}).encode(), **{"main.older": "1"})
    (tmp_path / "log").write_text("2")
    with monkeypatch.context() as patch:
        fail_at(patch, 0)
        with pytest.raises(ProductError, match="Operation not permitted: nothing was written"):
            AtomicFiles(tmp_path, ["another"]).open()
    with AtomicFiles(tmp_path, ["another"]):
        pass
    assert state_of(tmp_path) == {"main": "1"}


def test_without_locks_other_runs_are_left_alone(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    path = dead_run(tmp_path, json.dumps({"log": False}).encode())
    (tmp_path / "log").write_text("1")
    write(tmp_path, 2)
    assert state_of(tmp_path) == {path.name: "", **set_of(2)}


def test_without_locks_only_one_run_at_a_time_renames(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    threads = [threading.Thread(target=write, args=(tmp_path, value)) for value in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = state_of(tmp_path)
    assert sorted(state) == sorted(NAMES)
    assert len(set(state.values())) == 1


# ---- two runs at once


def test_two_runs_in_one_process_do_not_share_files(tmp_path):
    first, second = (AtomicFiles(tmp_path, NAMES).open() for _ in range(2))
    for files, value in ((first, b"1"), (second, b"2")):
        files.write("main", [value])
        files.write("log", [value])
    with first, second:
        first.commit()
        with pytest.raises(ProductError, match="main: another run wrote this product in the meantime"):
            second.commit()
    assert state_of(tmp_path) == {"main": "1", "log": "1"}


def test_many_threads_that_replace_one_set_leave_one_of_them_whole(tmp_path):
    threads = [threading.Thread(target=write, args=(tmp_path, value)) for value in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = state_of(tmp_path)
    assert sorted(state) == sorted(NAMES)
    assert len(set(state.values())) == 1


@pytest.mark.parametrize("dead", [False, True])
def test_a_run_waits_for_the_lock_of_another(tmp_path, monkeypatch, dead):
    """The lock file is removed by its owner, or left by a dead one; who waited for it takes a new one."""
    order = []
    lock = tmp_path.joinpath(atomic_files.FOLDER_LOCK).open("ab")
    fcntl.flock(lock, fcntl.LOCK_EX)
    waits = threading.Event()
    monkeypatch.setattr(atomic_files.time, "sleep", lambda _: waits.set())
    thread = threading.Thread(target=lambda: (write(tmp_path, 1), order.append("thread")))
    thread.start()
    waits.wait()
    order.append("owner")
    if not dead:
        os.unlink(lock.name)
    lock.close()
    thread.join()
    assert order == ["owner", "thread"]
    assert state_of(tmp_path) == set_of(1)


def test_a_stopped_run_that_holds_the_lock_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic_files, "WAIT_S", 0.0)
    with tmp_path.joinpath(atomic_files.FOLDER_LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ProductError, match=r"lock\.tmp: another run keeps this folder locked: wait for that"):
            AtomicFiles(tmp_path, NAMES).open()
    write(tmp_path, 1)
    assert state_of(tmp_path) == set_of(1)
