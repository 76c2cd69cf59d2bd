"""The dictionary is never stored: a 1 GiB dictionary is searched within a few dozen MiB."""

import os
import subprocess
import sys

import pytest

from coinr.engine import _C, philox

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space by Linux means"),
    pytest.mark.skipif("san.so" in os.environ.get("LD_PRELOAD", ""), reason="sanitizers reserve address space"),
]

SCRIPT = """
import resource, sys
import numpy as np
from coinr.engine import _C

n, M, kind = 16384, 65536, int(sys.argv[1])
W = np.random.default_rng(0).standard_normal((2, n)).astype(np.float32)
_C.omp(W[:, :64].copy(), kind, 64, 0, 0, 2, 2)
with open("/proc/self/status") as status:
    used = next(int(line.split()[1]) for line in status if line.startswith("VmSize:"))
room = 160 * 2**20  # threads reserve 64 MiB of address space each for their heaps
resource.setrlimit(resource.RLIMIT_AS, (used * 1024 + room,) * 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
indices, values, path = _C.omp(W, kind, M, 1, 0, 6, 2)
assert (indices >= 0).all() and (np.diff(path) < 0).all()
best, value = _C.correlate_argmax(W, kind, M, 1, 0, 2)
assert (best == indices[:, 0]).all()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("kind", philox.KINDS)
def test_a_large_dictionary_is_never_stored(kind):
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, str(philox.KINDS[kind])], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64  # MiB, of 1024 for the dictionary


def test_the_script_would_notice():
    # The same limit does not hold the dictionary itself.
    body = SCRIPT.replace("indices, values, path = _C.omp(W, kind, M, 1, 0, 6, 2)", "np.ones((n, M), np.int8)")
    assert body != SCRIPT
    done = subprocess.run([sys.executable, "-P", "-c", body, "1"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "MemoryError" in done.stderr
    assert _C.simd_level()
