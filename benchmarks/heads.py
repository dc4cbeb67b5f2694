"""What the context heads cost, on one backbone, at one photo size and output stride.

    python -m benchmarks.heads
    python -m benchmarks.heads --backbone mobilenetv2_100 --size 320 320 --heads none grm rsp
    python -m benchmarks.heads --no-time --json heads.json
    python -m benchmarks.heads --claim

Parameters and multiply-adds come from one counter for all heads (PyTorch's, attention and products
over regions included) on tensors without memory. Images/s and peak memory are measured, each head
in a process of its own, with random weights: one forward pass of the whole network to its logits.
Memory is beyond that of the idle process.

--claim prints the multiply-adds of `rsp` on the backbone as it is (output stride 32) against
DeepLabV3 (`aspp`) on the dilated one, the same width and backbone: "75 % fewer" (arXiv 2106.01744)
holds against output stride 8 and not against 16.
"""

import argparse
import json
import multiprocessing
import platform
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from knowledge.graph import ClassGraph
from stages.nets.backbone import Backbone
from stages.nets.cost import Cost, cost, peak_memory
from stages.nets.heads import HEADS
from stages.nets.segmenter import Segmenter, build_segmenter
from stages.nets.settings import HeadConfig
from stages.nets.throughput import throughput

CLAIM_BACKBONES = ("resnet50", "resnet101")
CLAIM_SIZES = ((512, 512), (1024, 2048))
CLAIM_STRIDES = (8, 16)
CLAIM = 0.25
"""Largest share of DeepLabV3's multiply-adds that "75 % fewer" allows."""


class Arm(NamedTuple):
    """A network to count or to time."""

    head: str
    backbone: str
    output_stride: int
    width: int
    classes: int

    def network(self, device: str = "cpu") -> Segmenter:
        """With random weights; on the device "meta" it takes no memory and can only be counted."""
        config = HeadConfig(width=self.width, dilations=(6, 12, 18))
        with torch.device(device):
            backbone = Backbone(self.backbone, output_stride=self.output_stride)
        graph = _graph(self.classes - 1)
        made = build_segmenter(backbone, self.head, config, classes=self.classes, graph=graph)
        return made.to(device).to(memory_format=torch.channels_last)

    def counted(self, *sizes: tuple[int, int]) -> list[tuple[Cost, Cost]]:
        """Of the whole network and of its backbone alone, at each size of photo."""
        network = self.network("meta")
        return [(cost(network, size), cost(network.backbone, size)) for size in sizes]


class Timing(NamedTuple):
    """How an arm is timed."""

    size: tuple[int, int]
    batch: int
    repeats: int
    threads: int
    device: str


def _graph(classes: int) -> ClassGraph:
    """A graph of the size of the real ones; its numbers change no cost."""
    names = tuple(f"class {i}" for i in range(classes))
    embeddings = np.random.default_rng(0).normal(size=(classes, 384)).astype(np.float32)
    return ClassGraph(names, embeddings, np.eye(classes, dtype=np.float32), {})


def _timed(arm: Arm, timing: Timing) -> dict[str, float]:
    """Images/s and memory, in this process."""
    torch.set_num_threads(timing.threads)
    device = torch.device(timing.device)
    idle = 0 if device.type == "cuda" else peak_memory(device)
    network = arm.network(timing.device)
    seen = throughput(network, timing.size, batch=timing.batch, repeats=timing.repeats)
    return {
        "images_per_second": round(seen.images_per_second, 3),
        "peak_memory_bytes": seen.peak_memory_bytes - idle,
    }


def rows(arms: list[Arm], size: tuple[int, int], timing: Timing | None) -> list[dict[str, Any]]:
    """One row of figures an arm; without `timing` only what can be counted."""
    found = []
    for arm in arms:
        ((whole, trunk),) = arm.counted(size)
        row: dict[str, Any] = {
            **arm._asdict(),
            "size": list(size),
            "params": whole.params,
            "multiply_adds": whole.multiply_adds,
            "head_params": whole.params - trunk.params,
            "head_multiply_adds": whole.multiply_adds - trunk.multiply_adds,
        }
        if timing is not None:
            spawned = multiprocessing.get_context("spawn")
            with spawned.Pool(1) as alone:
                row |= alone.apply(_timed, (arm, timing))
        found.append(row)
    return found


def table(found: list[dict[str, Any]]) -> str:
    """The rows in Markdown; `of none` is the whole network against the first row's."""
    first = found[0]
    head = f"of {first['head']}"
    lines = [
        f"| head | params, M | GMACs | {head} | GMACs of the head | images/s | peak memory, MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found:
        share = row["multiply_adds"] / first["multiply_adds"]
        timed = "images_per_second" in row
        speed = f"{row['images_per_second']:.2f}" if timed else "-"
        memory = f"{row['peak_memory_bytes'] / 2**20:.0f}" if timed else "-"
        lines.append(
            f"| {row['head']} | {row['params'] / 1e6:.1f} | {row['multiply_adds'] / 1e9:.1f} | "
            f"{share:.2f} | {row['head_multiply_adds'] / 1e9:.1f} | {speed} | {memory} |"
        )
    return "\n".join(lines)


def claim(width: int, classes: int) -> list[dict[str, Any]]:
    """`rsp` at output stride 32 against `aspp`: multiply-adds of the whole networks."""
    found = []
    for backbone in CLAIM_BACKBONES:
        ours = Arm("rsp", backbone, 32, width, classes).counted(*CLAIM_SIZES)
        for stride in CLAIM_STRIDES:
            theirs = Arm("aspp", backbone, stride, width, classes).counted(*CLAIM_SIZES)
            for size, (rsp, _), (aspp, _) in zip(CLAIM_SIZES, ours, theirs, strict=True):
                found.append(
                    {
                        "backbone": backbone,
                        "size": list(size),
                        "rsp": rsp.multiply_adds,
                        "aspp": aspp.multiply_adds,
                        "aspp_output_stride": stride,
                        "share": round(rsp.multiply_adds / aspp.multiply_adds, 4),
                    }
                )
    return found


def claim_table(found: list[dict[str, Any]]) -> str:
    """The comparisons in Markdown."""
    lines = [
        "| backbone | photo | rsp at 32, GMACs | aspp at | GMACs | rsp / aspp | at most 25 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found:
        height, width = row["size"]
        met = "yes" if row["share"] <= CLAIM else "no"
        lines.append(
            f"| {row['backbone']} | {height} x {width} | {row['rsp'] / 1e9:.1f} | "
            f"{row['aspp_output_stride']} | {row['aspp'] / 1e9:.1f} | "
            f"{row['share']:.1%} | {met} |"
        )
    return "\n".join(lines)


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.heads",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--heads", nargs="+", choices=list(HEADS), default=list(HEADS))
    parser.add_argument("--backbone", default="resnet50", help="any timm name")
    parser.add_argument("--size", nargs=2, type=int, default=(512, 512), help="height, width")
    parser.add_argument("--width", type=int, default=256, help="channels of the heads")
    parser.add_argument("--output-stride", type=int, choices=(8, 16, 32), default=16)
    parser.add_argument("--classes", type=int, default=19, help="with background")
    parser.add_argument("--batch", type=int, default=1, help="photos a timed pass")
    parser.add_argument("--repeats", type=int, default=5, help="timed passes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-time", action="store_true", help="count only")
    parser.add_argument("--claim", action="store_true", help="rsp against DeepLabV3, count only")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Print the table that the arguments ask for."""
    given = _arguments(argv)
    size = (given.size[0], given.size[1])
    if given.claim:
        found = claim(given.width, given.classes)
        print(f"width {given.width}, {given.classes} classes, whole networks\n")
        print(claim_table(found))
    else:
        arms = [
            Arm(head, given.backbone, given.output_stride, given.width, given.classes)
            for head in given.heads
        ]
        timing = Timing(size, given.batch, given.repeats, given.threads, given.device)
        found = rows(arms, size, None if given.no_time else timing)
        print(
            f"{given.backbone} at output stride {given.output_stride}, photo {size[0]} x {size[1]},"
            f" width {given.width}, {given.classes} classes; {given.device}, batch {given.batch},"
            f" {given.threads} threads\n"
        )
        print(table(found))
    if given.json is not None:
        facts = {"torch": torch.__version__, "machine": platform.machine(), "rows": found}
        given.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
