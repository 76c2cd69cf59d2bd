"""Steps of a run, the machine, and times by the device's own events."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Run:
    """The results so far, where they go, and how much time is left."""

    def __init__(self, out: Path, tiny: bool, budget: float) -> None:
        self.out, self.tiny, self.end = out, tiny, time.monotonic() + budget
        self.data: dict[str, Any] = {"steps": {}, "failures": []}
        out.mkdir(parents=True, exist_ok=True)

    def step(self, name: str, work: Callable[[], Any], reserve: float = 20) -> Any:
        """Run one step, keep its result or its error, and write the file."""
        started = time.monotonic()
        if self.end - started < reserve:
            self.data["steps"][name] = {"skipped": "out of time"}
            result = None
        else:
            try:
                result = work()
                self.data["steps"][name] = {"result": result, "seconds": round(time.monotonic() - started, 2)}
            except Exception as error:  # a later step may still tell something
                result = None
                self.data["failures"].append(f"{name}: {type(error).__name__}: {error}")
                self.data["steps"][name] = {"error": f"{type(error).__name__}: {error}"}
        self.write()
        print(f"{name}: {json.dumps(self.data['steps'][name])[:300]}", flush=True)
        return result

    def write(self) -> None:
        """Replace the JSON in one step."""
        temporary = self.out / "gpu_check.json.tmp"
        temporary.write_text(json.dumps(self.data, indent=1))
        os.replace(temporary, self.out / "gpu_check.json")


def machine(device: torch.device) -> dict[str, Any]:
    """Return what this runs on."""
    import triton

    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else "CPU, Triton's interpreter",
        "capability": torch.cuda.get_device_capability(device) if cuda else None,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
    }


def time_call(work: Callable[[], Any], device: torch.device, repeats: int = 10, most: float = 4.0) -> dict[str, float]:
    """Measure median, least and most milliseconds of a call, by device events; the first calls do not count."""
    cuda = device.type == "cuda"
    for _ in range(3 if cuda else 0):
        work()
    times: list[float] = []
    stop = time.monotonic() + most
    while len(times) < repeats and (not times or time.monotonic() < stop):
        if cuda:
            before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            before.record()
            work()
            after.record()
            after.synchronize()
            times.append(before.elapsed_time(after))
        else:
            started = time.perf_counter()
            work()
            times.append(1e3 * (time.perf_counter() - started))
    return {"ms": float(np.median(times)), "least": min(times), "most": max(times), "repeats": len(times)}
