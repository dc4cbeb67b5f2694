"""Peak memory of this process and of its living children, in bytes."""

import resource
import sys
from pathlib import Path

PROCESSES = Path("/proc")


def reset_peak() -> None:
    """Starts a new peak for `peak_bytes`, where the kernel allows it."""
    try:
        (PROCESSES / "self" / "clear_refs").write_text("5")
    except OSError:
        return  # not Linux, or not ours to write: the peak since the start is the answer then


def peak_bytes() -> int:
    """Highest resident memory since `reset_peak`, plus that of processes that work for this one.

    An upper estimate: the peaks of several processes need not fall together.
    """
    own = _high_water("self")
    if own is None:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return own + sum(_high_water(child) or 0 for child in _descendants("self"))


def _descendants(process: str) -> list[str]:
    found: list[str] = []
    for listing in PROCESSES.glob(f"{process}/task/*/children"):
        try:
            children = listing.read_text().split()
        except OSError:
            continue
        for child in children:
            found += [child, *_descendants(child)]
    return found


def _high_water(process: str) -> int | None:
    try:
        lines = (PROCESSES / process / "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
