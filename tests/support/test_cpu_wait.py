"""A process that fights for a processor is seen to wait, an idle one is not."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.support.cpu_wait import CpuWait


def test_waiting_for_a_processor_is_counted() -> None:
    spin = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    processes = [subprocess.Popen(spin, stdout=subprocess.PIPE) for _ in range(len(os.sched_getaffinity(0)) + 1)]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        cpu_wait = CpuWait(*(process.pid for process in processes))
        limit = time.monotonic() + 60
        while cpu_wait.seconds() < 0.05:
            assert time.monotonic() < limit
            time.sleep(0.01)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert CpuWait(processes[0].pid).seconds() < 10, "a process that is gone is not counted"
