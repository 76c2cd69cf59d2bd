"""Every Triton kernel compiled for sm_80 and sm_90 without a GPU, and what the machine code must show.

The other kernel tests define the kernels for the interpreter, so this module runs itself as a script in a fresh process
in which ``TRITON_INTERPRET`` is not set. Triton keeps what it compiled in its cache; only changed kernels cost time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

# Two minutes of compiling where Triton's cache is empty, 40 s of disassembling where it is not.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SHARED_LIMIT = {80: 163 << 10, 90: 227 << 10}
TYPES = {
    "out_ptr": "*fp32", "high_ptr": "*fp16", "low_ptr": "*fp16", "out_high_ptr": "*fp16", "out_low_ptr": "*fp16",
    "tile_ptr": "*i32", "rows_ptr": "*i32", "rank_ptr": "*i32", "index_ptr": "*i32", "pick_ptr": "*i32",
    "alive_ptr": "*i32", "q_ptr": "*i32", "counters_ptr": "*i32", "words_ptr": "*i32", "atoms_ptr": "*i32",
    "dict_ptr": "*i8", "table_ptr": "*i32", "step": "fp32", "first_omega": "fp32", "omega": "fp32", "factor": "fp32",
}  # fmt: skip
# Arguments that the wrappers pass as multiples of 16; Triton specializes on that.
ALIGNED = {"stride", "inner", "order", "width", "weight_stride", "sums_stride", "tape_size"}
# The buffers that lsq.py calls real: float64 in the cases whose name ends so.
REAL = {
    "residual_ptr", "basis_ptr", "triangle_ptr", "along_ptr", "path_ptr", "energy_ptr", "v_ptr", "partial_ptr",
    "again_ptr", "sums_ptr",
}  # fmt: skip

# Gradients of 128 x 128 weights take 64 registers of each thread; float32 products keep whole rows of factors.
SPILLING = ("mlp-gradient-siren-128-tf32x3", "mlp-forward-siren-64-ieee", "mlp-gradient-siren-64-ieee")


def dense_cases(major: int) -> dict[str, tuple]:
    """The dense kernel as it is launched for these (kind, n, B, stored)."""
    from kernels.correlate import KINDS, correlate_kernel, tiling

    shapes = {
        "single-gaussian-n3": ("gaussian", 3, 200, False),
        "single-hadamard-n32": ("hadamard", 32, 5, False),
        "gaussian-n64": ("gaussian", 64, 4096, False),
        "gaussian-n256": ("gaussian", 256, 4096, False),
        "gaussian-n1024": ("gaussian", 1024, 4096, False),
        "gaussian-few": ("gaussian", 16384, 3, False),
        "rademacher-n64": ("rademacher", 64, 4096, False),
        "rademacher-n128": ("rademacher", 128, 4096, False),
        "rademacher-n256": ("rademacher", 256, 4096, False),
        "rademacher-n1024": ("rademacher", 1024, 4096, False),
        "rademacher-few": ("rademacher", 16384, 3, False),
        "stored-n64": ("gaussian", 64, 192, True),
        "stored-n256": ("gaussian", 256, 1024, True),
        "stored-n1024": ("rademacher", 1024, 1024, True),
    }
    cases = {}
    for name, (kind, n, B, stored) in shapes.items():
        t = tiling(kind, n, B, stored, major)
        constants = {
            "KIND": 0 if stored else KINDS[kind], "SCALED": kind == "gaussian", "SINGLE": t.single,
            "RESIDENT": t.resident, "BB": t.BB, "BM": t.BM, "BK": t.BK,
        }  # fmt: skip
        cases[f"correlate-{name}"] = (correlate_kernel, constants, t.warps, t.stages)
    return cases


def hadamard_cases(major: int) -> dict[str, tuple]:
    """The transform kernels as they are launched."""
    from kernels.hadamard import HadamardCorrelator, direct_kernel, inner_kernel, outer_kernel

    cases = {}
    for n, tail in ((64, True), (100, True), (128, False), (200, True), (256, False), (256, True)):
        shape = HadamardCorrelator.__new__(HadamardCorrelator)
        shape.n, shape.order = n, 1 << (n - 1).bit_length()
        wide = shape._widest(major)
        constants = {"FULL": n == shape.order, "TAIL": tail, "PARTS": shape.order // 64, "BB": wide}
        cases[f"hadamard-direct-n{n}{'-tail' if tail else ''}"] = (direct_kernel, constants, 8 if wide >= 64 else 4, 1)
    for PO, signed, full in ((4, True, True), (64, True, False), (64, False, False)):
        constants = {"SIGNED": signed, "FULL": full, "PO": PO, "BO": max(16, PO), "VECTORS": 8}
        name = f"hadamard-outer-{PO}{'-signed' if signed else ''}"
        cases[name] = (outer_kernel, constants, 8 if PO == 64 else 4, 1)
    cases["hadamard-inner"] = (inner_kernel, {"TAIL": True, "BB": 64}, 4, 1)
    return cases


def other_cases() -> dict[str, tuple]:
    """Everything around the correlation: the same constants on both architectures."""
    from kernels import correlate, lsq, lsq_wide, philox, select
    from kernels.synthesize import synthesize_kernel

    pick = {"BM": 128, "SLOTS": 2048, "BK": 256}
    part = {"KB": 16, "BN": 256}
    cases = {
        "philox": (philox.philox_kernel, {"BLOCK": 256}, 4, 3),
        "entries": (philox.entries_kernel, {"KIND": 3, "LISTED": True, "ROWS": 32, "BK": 128}, 4, 3),
        "entries-all": (philox.entries_kernel, {"KIND": 1, "LISTED": False, "ROWS": 32, "BK": 128}, 4, 3),
        "norms": (philox.norms_kernel, {"ROWS": 64, "BK": 128}, 4, 3),
        "prepare": (correlate.prepare_kernel, {"HALVES": True, "BN": 1024}, 4, 3),
        "select": (select.select_kernel, {"KIND": 3, **pick}, 4, 3),
        "update-n64": (lsq.update_kernel, {"KIND": 1, "HALVES": True, **pick, "BK": 64, "KB": 16, "BN": 64}, 4, 3),
        "update-n1024": (lsq.update_kernel, {"KIND": 2, "HALVES": True, **pick, "KB": 4, "BN": 1024}, 4, 3),
        "solve": (lsq.solve_kernel, {"BS": 512}, 4, 3),
        "wide-pick": (lsq_wide.pick_kernel, {"KIND": 1, **pick}, 4, 3),
        "wide-generate": (lsq_wide.generate_kernel, {"KIND": 3, **part}, 4, 3),
        "wide-orthogonalize": (lsq_wide.orthogonalize_kernel, part, 4, 3),
        "wide-finish": (lsq_wide.finish_kernel, part, 4, 3),
        "wide-store": (lsq_wide.store_kernel, {"HALVES": True, "BN": 256}, 4, 3),
        "synthesize": (synthesize_kernel, {"KIND": 1, "WIDE": False, "KB": 16, "BN": 128}, 4, 3),
        "synthesize-wide": (synthesize_kernel, {"KIND": 3, "WIDE": True, "KB": 16, "BN": 128}, 4, 3),
    }
    both = ("prepare", "update-n64", "update-n1024", "solve", "wide-orthogonalize", "wide-finish", "wide-store")
    return cases | {f"{name}-float64": cases[name] for name in both}


def mlp_cases() -> dict[str, tuple]:
    """The fused networks as they are launched: the widths, both precisions, the kinds, both kinds of gradients."""
    from kernels import mlp

    cases = {"mlp-reduce": (mlp.reduce_kernel, {"ROWS": 16, "COLUMNS": mlp.REDUCED}, 4, 3)}
    shapes = [("siren", width, "tf32x3") for width in (16, 32, 64, 128)]
    shapes += [("siren", 64, "ieee"), *((kind, 32, "tf32x3") for kind in ("finer", "gauss", "relu"))]
    for kind, width, precision in shapes:
        one = mlp.Mlp(kind, 2, width, 3, 3, precision=precision)
        gradient = {**one.constants, "LOSS": kind != "finer", "IN": 16}
        name, options = f"{kind}-{width}-{precision}", tuple(one.options.values())
        cases[f"mlp-forward-{name}"] = (mlp.forward_kernel, one.constants, *options)
        cases[f"mlp-gradient-{name}"] = (mlp.gradient_kernel, gradient, *options)
    return cases


def cases(capability: int) -> dict[str, tuple]:
    """Name -> (kernel, constants, warps, stages)."""
    major = capability // 10
    return {**dense_cases(major), **hadamard_cases(major), **other_cases(), **mlp_cases()}


def compile_case(name: str, capability: int) -> dict[str, object]:
    """Compile one kernel and read its resources and instructions from the machine code."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel, constants, warps, stages = cases(capability)[name]
    names = kernel.arg_names
    types = {n: TYPES.get(n, "*fp32" if n.endswith("_ptr") else "i32") for n in names}
    if name.endswith("-float64"):
        types |= {n: "*fp64" for n in names if n in REAL or name.startswith("solve") and n == "value_ptr"}
    if name.startswith("entries"):
        types["out_ptr"] = "*i8"
    source = ASTSource(
        fn=kernel,
        signature={n: "constexpr" if n in constants else types[n] for n in names},
        constexprs={(names.index(n),): value for n, value in constants.items()},
        attrs={
            (i,): [["tt.divisibility", 16]]
            for i, n in enumerate(names)
            if n not in constants and (n.endswith("_ptr") or n in ALIGNED)
        },
    )
    options = {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True}
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        cubin.write(made.asm["cubin"])
        cubin.flush()
        show = [str(tools / "cuobjdump"), "-res-usage", "-sass", cubin.name]
        text = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    opcodes = re.findall(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9_.]+)", text, re.M)
    usage = {key: int(value) for key, value in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", text)}
    return {
        "name": name,
        "capability": capability,
        "registers": usage["REG"],
        "stack": usage["STACK"] + usage["LOCAL"],
        "spills": sum(op.startswith(("LDL", "STL")) for op in opcodes),
        "shared": made.metadata.shared,
        "hgmma": sum(op.startswith("HGMMA") for op in opcodes),
        "hmma": sum(op.startswith("HMMA") for op in opcodes),
        "ffma": sum(op.startswith("FFMA") for op in opcodes),
        "approximations": sum(op.startswith(("MUFU.SIN", "MUFU.COS")) for op in opcodes),
        "multiplies": sum(op.startswith(("IMAD.WIDE.U32", "IMAD.HI.U32", "UIMAD.WIDE.U32")) for op in opcodes),
        "instructions": len(opcodes),
    }


@pytest.fixture(scope="module")
def compiled() -> dict[tuple[str, int], dict]:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(ROOT)
    run = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__)), "80", "90"],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-4000:]
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    return {(row["name"], row["capability"]): row for row in rows}


def test_every_kernel_compiles_without_spills_within_shared_memory(compiled):
    assert {capability for _, capability in compiled} == {80, 90}
    assert len(compiled) == 2 * (47 + 17)
    for (name, capability), row in compiled.items():
        assert row["registers"] <= 255, row
        if name not in SPILLING:
            assert row["stack"] == 0, row
            assert row["spills"] == 0, row
        assert row["shared"] <= SHARED_LIMIT[capability], (name, row)


def test_few_networks_spill_and_little(compiled):
    for name in SPILLING:
        for capability in (80, 90):
            row = compiled[name, capability]
            assert row["stack"] <= 400, row
            assert row["spills"] <= row["instructions"] // 30, row


def test_networks_use_matrix_units_and_no_approximate_sines(compiled):
    rows = {name: row for (name, _), row in compiled.items() if name.startswith("mlp-")}
    assert len(rows) == 17
    for name, row in rows.items():
        assert row["approximations"] == 0, row
        assert (row["hgmma"] + row["hmma"] > 0) == name.endswith("tf32x3"), row
        assert row["ffma"] > 0 or name == "mlp-reduce", row


GENERATING = (
    "correlate-gaussian",
    "correlate-rademacher",
    "hadamard-direct",
    "hadamard-outer-4",
    "hadamard-outer-64-s",
)


def test_correlation_generates_and_multiplies_matrices_in_one_kernel(compiled):
    fused = {key: row for key, row in compiled.items() if key[0].startswith(GENERATING)}
    assert len(fused) == 2 * 17
    for row in fused.values():
        assert row["hgmma"] + row["hmma"] > 0, row
        assert row["multiplies"] >= 16, row  # ten rounds, two 32 x 32 -> 64 bit products each, less shared ones


def test_many_vectors_use_warpgroup_instructions_on_hopper(compiled):
    for name in (
        "gaussian-n64",
        "gaussian-n256",
        "gaussian-n1024",
        "rademacher-n256",
        "rademacher-n1024",
        "stored-n64",
    ):
        row = compiled[f"correlate-{name}", 90]
        assert row["hgmma"] > 0, row
        assert row["hmma"] == 0, row
    assert compiled["hadamard-direct-n256", 90]["hgmma"] > 0


def test_a_generated_tile_is_made_once_not_once_per_thread(compiled):
    # 128 atoms x 256 entries are 256 calls for 256 threads: one call, 20 products, per thread and tile.
    assert compiled["correlate-rademacher-n256", 90]["multiplies"] < 45


def test_small_dimensions_avoid_matrix_units_and_synthesis_has_no_fused_multiply_add(compiled):
    for capability in (80, 90):
        single = compiled["correlate-single-gaussian-n3", capability]
        assert (single["hgmma"], single["hmma"]) == (0, 0)
        assert single["ffma"] > 0
        assert compiled["synthesize", capability]["ffma"] == 0
        assert compiled["synthesize-wide", capability]["ffma"] == 0


def main(capabilities: list[int]) -> None:
    """Compile all cases with two processes and print one JSON line each."""
    work = [(name, capability) for capability in capabilities for name in cases(capability)]
    with ProcessPoolExecutor(2) as pool:
        for row in pool.map(compile_case, *zip(*work, strict=True)):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]])
