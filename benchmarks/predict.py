"""What `predict` costs beside its network: the same photos, with and without files.

    python -m benchmarks.predict photos --run runs/voc-cpu
    python -m benchmarks.predict photos --run runs/voc-cpu --photos 400 --rounds 5

"Bare" is the network alone, from decoded photos in memory to their labels: the same batches in the
same number of streams. "predict" decodes the photos and writes masks, overlays and JSON. Both take
turns; each round gives one ratio of wall time, and one of processor time, which other programs on
the machine disturb less.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from data.own import OwnPhoto, gather, in_batches
from stages.commands import predict
from stages.commands.parser import cores
from stages.commands.progress import Bar
from stages.model import Model
from stages.nets.device import autocast
from stages.nets.pooled import PIXELS
from stages.nets.streams import in_streams
from stages.predictions import Outputs

Batches = list[UInt8[np.ndarray, "b h w 3"]]


def main(argv: Sequence[str]) -> int:
    """Print both rates and their ratio, round by round, and the median ratio."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__)
    parser.add_argument("named", nargs="+", metavar="PHOTOS")
    parser.add_argument("--run", type=Path, required=True, help="runs/NAME or a model folder")
    parser.add_argument("--photos", type=int, default=160, help="photos taken (default: 160)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args(argv)
    photos = gather(asked.named)[: asked.photos]
    model = Model.load(asked.run, device=asked.device)
    read = in_batches(
        photos, pixels=PIXELS[model.device.type], workers=asked.workers, report=_refuse
    )
    batches = [pixels for _, pixels in read]
    bare(model, batches, asked.workers)  # the first pass makes what later ones find
    ratios = []
    for _ in range(asked.rounds):
        alone = timed(lambda: bare(model, batches, asked.workers))
        whole = timed(lambda: full(model, photos, asked))
        ratios.append((alone[0] / whole[0], alone[1] / whole[1]))
        print(
            f"bare {len(photos) / alone[0]:6.1f}/s   predict {len(photos) / whole[0]:6.1f}/s   "
            f"ratio {ratios[-1][0]:.3f}   of processor time {ratios[-1][1]:.3f}",
            flush=True,
        )
    wall, processor = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"median ratio {wall:.3f}, of processor time {processor:.3f}")
    return 0


def _refuse(photo: OwnPhoto, why: str) -> None:
    raise ValueError(why)


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """(wall, processor) seconds of `work`."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def bare(model: Model, batches: Batches, workers: int) -> None:
    """The network alone."""
    network = model.segmenter
    if network is None:
        raise ValueError("this model has no segmentation network")

    def label(pixels: UInt8[np.ndarray, "b h w 3"]) -> None:
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(model.device)
        with autocast(model.precision, model.device):
            network.predict(images).cpu()

    for _ in in_streams(label, batches, device=model.device, streams=workers):
        pass


def full(model: Model, photos: Sequence[OwnPhoto], asked: argparse.Namespace) -> None:
    """What the command does, once the model is loaded."""
    with tempfile.TemporaryDirectory() as folder, Bar() as bar:
        words = ["photos", "--run", str(asked.run), "--out", folder]
        command = predict._parser().parse_args([*words, "--workers", str(asked.workers)])
        look = predict.LOOKS[False](command, model)
        outputs = Outputs(Path(folder), model.classes)
        predict.label_photos(look, photos, outputs, asked=command, problems={}, bar=bar)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
