"""Native pursuits on several threads: the same bits as on one, and no thread too many."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from coinr.engine import _C, philox
from tests.engine.pursuit import targets
from tests.grids import fast_where


@pytest.mark.parametrize("kind", philox.KINDS)
@pytest.mark.parametrize(
    ("n", "M", "B", "s"),
    fast_where(
        lambda n, M, B, s: s < 150,
        [
            (64, 1500, 40, 12),
            (100, 900, 40, 30),
            (1100, 4000, 2, 30),
            (2100, 4100, 3, 150),
            (2100, 900, 2, 20),
            (300, 2000, 7, 60),
            (600, 9000, 7, 40),
        ],
    ),
    ids=["many", "padded", "few", "pieces", "divided", "turns", "lazy turns"],
)
def test_threads_and_batches_do_not_change_a_bit(kind, n, M, B, s):
    W = targets(B, n, 8)
    one = _C.omp(W, philox.KINDS[kind], M, 5, 1, s, 1)
    for threads in (2, 3, 5):
        for a, b in zip(one, _C.omp(W, philox.KINDS[kind], M, 5, 1, s, threads), strict=True):
            np.testing.assert_array_equal(a, b)
    alone = _C.omp(W[1:2], philox.KINDS[kind], M, 5, 1, s, 1)
    np.testing.assert_array_equal(alone[0][0], one[0][1])


@pytest.mark.parametrize("kind", philox.KINDS)
@pytest.mark.parametrize(("n", "M"), [(64, 900), (600, 9000)])
def test_vectors_that_end_early_do_not_hold_up_others(kind, n, M):
    W = targets(5, n, 3)
    W[0] = 0
    W[1] = 3 * philox.entries(kind, n, 5, 1, np.array([7]))[0]
    W[4] = philox.entries(kind, n, 5, 1, np.array([8, 20])).sum(0)
    one = _C.omp(W, philox.KINDS[kind], M, 5, 1, 24, 1)
    assert (one[0][[0, 1, 4]] >= 0).sum(1).tolist() == [0, 1, 2]
    assert (one[0][[2, 3]] >= 0).all()
    for threads in (2, 3, 4):
        for a, b in zip(one, _C.omp(W, philox.KINDS[kind], M, 5, 1, 24, threads), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", philox.KINDS)
def test_no_atoms_of_few_vectors(kind, threads):
    indices, values, path = _C.omp(targets(3, 64, 0), philox.KINDS[kind], 100, 5, 1, 0, threads)
    assert (indices.shape, values.shape, path.shape) == ((3, 0), (3, 0), (3, 1))


def test_concurrent_calls_agree():
    W = targets(20, 64, 2)
    want = [_C.omp(W, kind, 2000, 1, 0, 12, 2) for kind in (1, 2, 3)]
    failures = []

    def run(kind):
        for _ in range(3):
            got = _C.omp(W, kind, 2000, 1, 0, 12, 2)
            if not all(np.array_equal(a, b) for a, b in zip(got, want[kind - 1], strict=True)):
                failures.append(kind)

    workers = [threading.Thread(target=run, args=(kind,)) for kind in (1, 2, 3, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []


FORK_SCRIPT = """
import os
import numpy as np
from coinr.engine import _C

W = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)
before = _C.omp(W, 3, 500, 1, 0, 8, 2)
child = os.fork()
if child == 0:
    same = all(np.array_equal(a, b) for a, b in zip(before, _C.omp(W, 3, 500, 1, 0, 8, 2)))
    os._exit(0 if same else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
assert all(np.array_equal(a, b) for a, b in zip(before, _C.omp(W, 3, 500, 1, 0, 8, 2)))
"""

CROWD_SCRIPT = """
import os
import threading
import time
import numpy as np
from coinr.engine import _C

def running():
    # What the others have done is final only when all of them sleep.
    for task in set(os.listdir("/proc/self/task")) - {str(threading.get_native_id())}:
        try:
            with open(f"/proc/self/task/{task}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] != "S":
                    return True
        except OSError:  # it has ended meanwhile
            return True
    return False

W = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
_C.omp(W, 3, 500, 1, 0, 4, 2)
before = len(os.listdir("/proc/self/task"))
for _ in range(3):
    _C.omp(W, 3, 500, 1, 0, 4, 40)
while running():
    time.sleep(0.01)
print(len(os.listdir("/proc/self/task")) - before)
"""


NO_THREADS_SCRIPT = """
import resource
import numpy as np
from coinr.engine import _C

W = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)
one = _C.omp(W, 3, 500, 1, 0, 8, 1)
with open("/proc/self/status") as status:
    used = next(int(line.split()[1]) for line in status if line.startswith("VmSize:"))
resource.setrlimit(resource.RLIMIT_AS, ((used + 300 * 1024) * 1024, resource.RLIM_INFINITY))
failures = 0
try:
    _C.omp(W, 3, 500, 1, 0, 8, 200)
except (RuntimeError, MemoryError):
    failures = 1
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for threads in (2, 3):
    assert all(np.array_equal(a, b) for a, b in zip(one, _C.omp(W, 3, 500, 1, 0, 8, threads)))
print(failures)
"""


def said(script):
    # ThreadSanitizer refuses threads after a fork by default.
    environment = os.environ | {"TSAN_OPTIONS": os.environ.get("TSAN_OPTIONS", "") + " die_after_fork=0"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_forked_process_has_threads_of_its_own():
    assert said(FORK_SCRIPT) == 0


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc to count threads")
def test_no_more_threads_wait_than_there_are_cores():
    assert said(CROWD_SCRIPT) <= os.cpu_count()


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc to know the address space")
@pytest.mark.skipif("san.so" in os.environ.get("LD_PRELOAD", ""), reason="sanitizers reserve address space")
def test_threads_that_cannot_be_made_are_an_error_and_leave_nothing_behind():
    assert said(NO_THREADS_SCRIPT) == 1
