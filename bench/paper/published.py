"""INRIC on its own network beside its published points: sines on encoded coordinates, an L1 penalty, 8 and 7 bits.

Published are means over the 24 Kodak pictures at full size after 25 000 steps on whole pictures. The column
``differs`` says what a row does otherwise. The file of a half-size picture is about as large as that of the full one
would be, so its bits over the pixels of the full picture are given too. Without a GPU only ``quick`` is meant to run:
two narrow networks on the budget's pictures, with batches of 4096 samples.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.harness.measure import source_version, tensors_hash
from bench.harness.results import Kept
from bench.harness.signals import Samples, picture
from bench.harness.training import scores, values_of
from bench.paper import inric, inric_stream
from bench.paper.context import Context
from coinr import Siren
from coinr.files.state_dicts import read_state_dict_file, write_state_dict_file

#: Width to mean bits per pixel and PSNR in dB, at 8 bits.
PUBLISHED = {32: (0.10, 25.6), 48: (0.19, 27.2), 64: (0.30, 28.4), 128: (0.95, 32.3)}

HIDDEN_LAYERS, FREQUENCIES, BASE = 3, 16, 1.4
LEARNING_RATE, L1 = 5e-4, 1e-5
FULL_STEPS, QUICK_BATCH = 25_000, 4096
QUICK_WIDTHS = (32, 48)


def network_of(width: int) -> Siren:
    """Return INRIC's network: 66 inputs, three hidden layers."""
    generator = torch.Generator().manual_seed(0)
    return Siren(2, 3, width, HIDDEN_LAYERS, frequencies=FREQUENCIES, base=BASE, lowest=math.pi, generator=generator)


def train(network: nn.Module, samples: Samples, steps: int, batch: int | None) -> None:
    """Minimize squared error and L1 penalty in place: Adam at 5e-4, falling to zero along a half cosine.

    Parameters
    ----------
    batch : int or None
        Random samples of a step; None: all. INRIC lowers its rate where the loss stalls, which small batches hide.
    """
    device = next(network.parameters()).device
    inputs, targets = samples.inputs.to(device), samples.targets.to(device)
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(len(inputs), (batch,), generator=generator).to(device) if batch else slice(None)
        penalty = torch.stack([parameter.abs().sum() for parameter in network.parameters()]).sum()
        loss = (network(inputs[chosen]) - targets[chosen]).square().mean() + L1 * penalty
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()


def train_network(context: Context, name: str, width: int, samples: Samples) -> Siren:
    """Return a picture's network, trained once and kept."""
    full = context.budget.name == "full"
    network = network_of(width)
    steps = FULL_STEPS if full else context.budget.steps
    path = context.folder / "inric" / f"{name}-{width}-{steps}.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        network.to("cuda" if full and torch.cuda.is_available() else "cpu")
        train(network, samples, steps, None if full else QUICK_BATCH)
        write_state_dict_file(path, OrderedDict((k, v.detach().cpu()) for k, v in network.state_dict().items()))
    network.load_state_dict(read_state_dict_file(path))
    return network.to("cuda" if full and torch.cuda.is_available() else "cpu")


def psnr(network: nn.Module, tensors: dict[str, Tensor], samples: Samples) -> float:
    """Return PSNR in dB of the whole picture."""
    device = next(network.parameters()).device
    on_device = {name: tensor.to(device) for name, tensor in tensors.items()}
    values = values_of(network, on_device, samples.eval_inputs.to(device))
    return scores("picture", values.cpu(), samples.eval_targets)["psnr"]


def measure_network(context: Context, network: Siren, samples: Samples, bits: int) -> dict[str, Any]:
    """Measure bytes and quality of INRIC's file of a network."""
    like = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    blob = inric.compress(network, samples, bits, context.budget)
    return {
        "bytes": len(blob),
        "bpp": 8 * len(blob) / len(samples.targets),
        "bpp_at_full_size": 8 * len(blob) / (len(samples.targets) * (4 if context.budget.half else 1)),
        "psnr_db": psnr(network, inric.decode(blob, like), samples),
        "psnr_before_db": psnr(network, like, samples),
    }


def differences(context: Context) -> str:
    """Return what the budget does otherwise than the published points."""
    if context.budget.name == "full":
        return "rate of Adam falls along a cosine"
    size = "half-size" if context.budget.half else "full-size"
    return (
        f"{size} picture, not the mean of 24 full ones; {context.budget.steps} steps of {QUICK_BATCH} samples, not "
        f"25000 on whole pictures; each of 300 retraining steps on {inric.QUICK_BATCH} samples"
    )


def run(context: Context) -> None:
    """Write ``inric.csv``: a row for each picture, width and b, with the published point where there is one."""
    version = source_version(*(Path(str(part.__file__)) for part in (inric, inric_stream)), Path(__file__))
    log = Kept(context.folder / "inric" / "rows.jsonl")
    widths = tuple(PUBLISHED) if context.budget.name == "full" else QUICK_WIDTHS
    jobs = [(name, width) for name in context.pictures for width in widths]
    rows = []
    for name, width in context.track(jobs, "network"):
        samples = picture(name, context.data)
        network = train_network(context, name, width, samples)
        mark = tensors_hash(OrderedDict((k, v.cpu()) for k, v in network.state_dict().items()))
        for bits in inric.BITS:
            work = partial(measure_network, context, network, samples, bits)
            found = log.recall(f"{name} {mark} {bits} {version}", work)
            bpp, quality = PUBLISHED[width] if bits == 8 else (None, None)
            row = {"picture": name, "width": width, "bits": bits, **found}
            rows.append(row | {"published_bpp": bpp, "published_psnr_db": quality, "differs": differences(context)})
    context.write("inric", rows, published=str(PUBLISHED), note=differences(context), means=means(rows))


def means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return mean bits per pixel and PSNR over the pictures, by width and b."""
    table = []
    for width, bits in sorted({(row["width"], row["bits"]) for row in rows}):
        chosen = [row for row in rows if (row["width"], row["bits"]) == (width, bits)]
        average = {key: sum(row[key] for row in chosen) / len(chosen) for key in ("bpp", "bpp_at_full_size", "psnr_db")}
        table.append({"width": width, "bits": bits, "pictures": len(chosen), **average})
    return table
