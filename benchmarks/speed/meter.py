"""Run one command and print its time and memory as JSON: ``python meter.py --log=FILE [--memory] -- command ...``.

This is a program with few imports, as a process starts with the peak memory of its parent: a large parent would hide
the memory of a small command.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import time
from types import FrameType

#: Shortest pause between two samples of the memory, second; and the pause in units of the time that a sample takes.
PERIOD_S, PAUSE_RATIO = 0.005, 4.0


def main() -> None:
    """Measure the command in the arguments of this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", required=True, help="file for both output streams of the command")
    parser.add_argument("--memory", action="store_true", help="sample the memory of all its processes")
    parser.add_argument("--seconds", type=int, default=3600, help="time limit")
    parser.add_argument("--megabytes", type=float, default=float("inf"), help="memory limit, with --memory")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    with open(options.log, "wb") as log:
        print(json.dumps(measure(options.command, log.fileno(), options.memory, options.seconds, options.megabytes)))


def measure(command: list[str], log: int, memory: bool, seconds: int, megabytes: float) -> dict[str, object]:
    """Run a command and return its time, memory and exit code.

    Parameters
    ----------
    command : list of str
        Program and arguments.
    log : int
        File descriptor for both output streams.
    memory : bool
        Whether to sample the memory. Sampling slows the command down a little.
    seconds : int
        Time limit; the command is killed beyond it.
    megabytes : float
        Memory limit, MB; the command is killed beyond it. Without ``memory`` there is none.

    Returns
    -------
    dict
        ``wall_s`` and ``cpu_s`` (second), ``peak_mb`` (MB), exit ``code``, and ``stopped``: the limit that was
        exceeded, or an empty string.

    Notes
    -----
    The sampled peak is the largest sum over the process and its descendants of their PSS, which counts shared pages
    once. The kernel's peak is the largest RSS of one process. The larger of both is returned, as samples can miss a
    short peak.
    """
    stopped = ""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def kill_at_time_limit(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = f"takes more than {seconds} s"
        os.killpg(process.pid, signal.SIGKILL)

    signal.signal(signal.SIGALRM, kill_at_time_limit)
    signal.alarm(seconds)
    peak = 0.0
    while memory:
        sample_started = time.perf_counter()
        peak = max(peak, sum(map(memory_mb, process_tree(process.pid))))
        if peak > megabytes and not stopped:
            stopped = f"needs more than {megabytes:.0f} MB"
            os.killpg(process.pid, signal.SIGKILL)
        # WNOWAIT leaves the process to wait4, and so its number cannot be used by another process meanwhile
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
            break
        time.sleep(max(PERIOD_S, PAUSE_RATIO * (time.perf_counter() - sample_started)))
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    signal.alarm(0)
    process.returncode = os.waitstatus_to_exitcode(status)  # else Popen would wait for the process again
    return {
        "wall_s": wall,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": max(peak, usage.ru_maxrss * 1024 / 1e6),
        "code": process.returncode,
        "stopped": stopped,
    }


def process_tree(pid: int) -> list[int]:
    """Return the numbers of a process and all its descendants."""
    pids = [pid]
    for parent in pids:  # the list grows in this loop
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children") as children:
                    pids += map(int, children.read().split())
        except OSError:  # the process has ended
            continue
    return pids


def memory_mb(pid: int) -> float:
    """Return the proportional set size (PSS) of a process, MB; 0 when it has ended."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as lines:
            return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Pss:")), 0.0)
    except OSError:
        return 0.0


if __name__ == "__main__":
    main()
