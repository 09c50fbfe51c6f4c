"""What a process has used so far."""

import resource
import sys
from pathlib import Path

__all__ = ["peak_memory_mb"]


def peak_memory_mb() -> float:
    """The most memory that this process has had, in MB (of 2**20 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():
        # ru_maxrss would begin with what the parent had when it forked.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 / (1024 if sys.platform == "darwin" else 1)
