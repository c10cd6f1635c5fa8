"""Run one command and print what it took as JSON: ``python meter.py --log=FILE [--memory] -- command ...``.

It is a program of its own, with nothing imported that is large: a process starts with the peak memory of whoever
started it, so that a large parent would hide what a small command takes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import time
from types import FrameType

#: Shortest time between two looks at the memory of the processes, second; and that time over the time of a look.
PERIOD_S, SPARING = 0.005, 4.0


def main() -> None:
    """Run the command of this process's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", required=True, help="file for both streams of the command")
    parser.add_argument("--memory", action="store_true", help="look at the memory of all its processes")
    parser.add_argument("--seconds", type=int, default=3600, help="longest that it may take")
    parser.add_argument("--megabytes", type=float, default=float("inf"), help="most that it may need, with --memory")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    with open(options.log, "wb") as log:
        print(json.dumps(measure(options.command, log.fileno(), options.memory, options.seconds, options.megabytes)))


def measure(command: list[str], log: int, memory: bool, seconds: int, megabytes: float) -> dict[str, object]:
    """Run a command; return wall and CPU time in second, peak memory in MB, exit code, and why it was stopped.

    The peak is that of the sum over the process and its descendants of what each holds (PSS: pages that several share
    are counted once), or that of the largest of them (RSS, by the kernel), whichever is more: the sum is seen every
    few milliseconds only. Without ``memory`` nothing looks on while the command runs.
    """
    stopped = ""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def too_long(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = f"takes more than {seconds} s"
        os.killpg(process.pid, signal.SIGKILL)

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    peak = 0.0
    while memory:
        look = time.perf_counter()
        peak = max(peak, sum(map(held, tree(process.pid))))
        if peak > megabytes and not stopped:
            stopped = f"needs more than {megabytes:.0f} MB"
            os.killpg(process.pid, signal.SIGKILL)
        # without reaping: a process that is gone must not take its identity with it while it is looked at
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
            break
        time.sleep(max(PERIOD_S, SPARING * (time.perf_counter() - look)))
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    signal.alarm(0)
    process.returncode = os.waitstatus_to_exitcode(status)  # Popen would wait for it again
    return {
        "wall_s": wall,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": max(peak, usage.ru_maxrss * 1024 / 1e6),
        "code": process.returncode,
        "stopped": stopped,
    }


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for parent in found:  # which grows
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children") as children:
                    found += map(int, children.read().split())
        except OSError:  # gone meanwhile
            continue
    return found


def held(pid: int) -> float:
    """Return the memory of a process in MB, shared pages by its share; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as lines:
            return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Pss:")), 0.0)
    except OSError:
        return 0.0


if __name__ == "__main__":
    main()
