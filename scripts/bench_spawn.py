"""Runs one command and writes what it took: `bench_spawn.py RESULT COMMAND...`.

A process of its own, and a small one: to the peak memory of a process Linux adds what the process
that forked it had in memory.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main(result: str, command: list[str]) -> None:
    """Seconds of wall and CPU, MB of peak memory and the exit code, as JSON in the file `result`."""
    began = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, used = os.wait4(pid, 0)
    took = {
        "wall": time.perf_counter() - began,
        "cpu": used.ru_utime + used.ru_stime,
        "rss": used.ru_maxrss / 1024,
        "code": os.waitstatus_to_exitcode(status),
    }
    Path(result).write_text(json.dumps(took))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
