"""Scripts that run with one instruction set of the extension."""

import os
import subprocess
import sys


def run_with(level, script):
    """Run a script in a process of its own, by the build that this process has, and fail where it fails."""
    environment = {
        "COINR_SIMD": level,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OPENBLAS_NUM_THREADS": "1",  # sanitizers do not know its threads
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
