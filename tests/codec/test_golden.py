"""Files of every released format version decode to the weights they decoded to then, on every backend."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import coinr
from tests.codec.golden.make import base, digest
from tests.grids import fast_where

FOLDER = Path(__file__).parent / "golden"
HASHES = {
    path.with_suffix("").relative_to(FOLDER).as_posix(): expected
    for hashes in sorted(FOLDER.glob("v*/hashes.json"))
    for case, expected in json.loads(hashes.read_text()).items()
    for path in [hashes.parent / f"{case}.coinr"]
}
DIGESTS = """
import os, sys
from pathlib import Path
import coinr
from tests.codec.golden.make import base, digest
for os.environ["COINR_BACKEND"] in ("native", "reference"):
    for path in sys.argv[1:]:
        print(digest(coinr.load(path, base=base(Path(path).stem))))
"""


def test_there_are_golden_files_and_none_without_a_hash():
    assert len(HASHES) >= 8
    assert {path.with_suffix("").relative_to(FOLDER).as_posix() for path in FOLDER.glob("v*/*.coinr")} == set(HASHES)


@pytest.mark.parametrize("backend", ["reference", "native"])
@pytest.mark.parametrize("case", HASHES)
def test_decodes_to_the_same_bits(case, backend, monkeypatch):
    monkeypatch.setenv("COINR_BACKEND", backend)
    blob = (FOLDER / f"{case}.coinr").read_bytes()
    assert digest(coinr.decode_state_dict(blob, base=base(Path(case).name))) == HASHES[case]


@pytest.mark.parametrize("threads", fast_where(lambda threads: threads == "2", ["1", "2"]))
def test_other_processes_and_thread_counts_decode_to_the_same_bits(threads):
    paths = [str(FOLDER / f"{case}.coinr") for case in HASHES]
    environment = os.environ | {"COINR_THREADS": threads, "OMP_NUM_THREADS": threads}
    done = subprocess.run(
        [sys.executable, "-c", DIGESTS, *paths],
        env=environment,
        cwd=FOLDER.parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == 2 * list(HASHES.values())


@pytest.mark.parametrize("case", HASHES)
def test_single_tensors_equal_the_whole(case):
    blob = (FOLDER / f"{case}.coinr").read_bytes()
    known = base(Path(case).name)
    for name, tensor in coinr.decode_state_dict(blob, base=known).items():
        alone = coinr.decode_tensor(blob, name, base=known)
        assert digest({name: alone}) == digest({name: tensor})
