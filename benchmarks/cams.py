"""What activation maps cost: beside their bare network, and beside the plain loop of the field.

    python -m benchmarks.cams --run runs/voc-mini --dataset.root VOCdevkit/VOC2012
    python -m benchmarks.cams --run runs/voc-mini --photos 96 --rounds 5

"Bare" is the network alone: the same batches at the same scales, mirrored too, resized beforehand,
in the same number of streams, its norms folded as in the stage. "Stage" is what `cams` does:
decode, resize, make the maps of a photo's own tags, write files. "Plain" takes one photo, one scale
and one mirror image at a time through the network as it was trained, in float32 on all cores, makes
and resizes the maps of all classes, and keeps those of
the tags; it decodes and writes nothing. The three take turns; each round gives one ratio of wall
time and one of processor time, which other programs on the machine disturb less. Before, it is
made sure that the maps are the same: at float32 within the rounding of a file.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torch.nn import functional

from data.cams import Cam, rounded
from data.manifest import Manifest
from data.records import Photo
from knowledge.graph import ClassGraph
from pipeline.context import Context
from stages.cams import Config, write_cams
from stages.commands.parser import cores
from stages.nets.cam import CamMaker
from stages.nets.classifier import load_classifier
from stages.nets.device import autocast, pick_device
from stages.nets.pooled import photo_batches
from stages.nets.resize import resized
from stages.nets.streams import in_streams

AGREEMENT = 1.5 / 255
"""Largest difference of normalised scores that is rounding: half a step, and a step of the sum."""


class Case(NamedTuple):
    """What is measured, and on what."""

    make: CamMaker
    manifest: Manifest
    photos: Sequence[Photo]
    context: Context

    @classmethod
    def of(cls, run: Path, root: Path | None, *, photos: int, context: Context) -> "Case":
        """The classifier of a finished run, with the settings of its maps, on some train photos."""
        places = {} if root is None else {"dataset.root": root}
        manifest = Manifest.of({"index": run / "index"}, places)
        recipe = json.loads((run / "cams" / "recipe.json").read_text(encoding="utf-8"))
        config = Config.model_validate(recipe["config"])
        classifier = load_classifier(run / "classify", ClassGraph.load(run / "graph"))
        make = CamMaker(
            classifier.to(pick_device(context.device)),
            branch=config.classifier,
            scales=config.scales,
            flip=config.flip,
            competition=config.competition,
        )
        train = manifest.split("train")
        step = max(1, len(train) // photos)
        return cls(make, manifest, train[::step][:photos], context)

    def classes(self, photo: Photo) -> list[int]:
        """0-based classes of the photo's tags."""
        return list(self.manifest.tag_indices(photo))


def plain_maps(
    make: CamMaker, image: UInt8[Tensor, "1 3 h w"], classes: Sequence[int]
) -> Float32[Tensor, "_k h4 w4"]:
    """The maps of one photo as the field's loop makes them: view by view, all classes."""
    total: Tensor | None = None
    photo = (image.shape[-2], image.shape[-1])
    for scale in make.scales:
        scaled = resized(image, scale)
        size = (scaled.shape[-2], scaled.shape[-1])
        for mirrored in (False, True) if make.flip else (False,):
            with torch.no_grad():
                features = make.classifier.features(scaled.flip(-1) if mirrored else scaled)
                logits = functional.conv2d(features.float(), make.weights[:, :, None, None])
                maps = functional.relu(logits)
                if make.competition > 0:
                    maps = maps * torch.softmax(logits, dim=1) ** make.competition
            rows, columns = make.finished(features, scaled=size, photo=photo)
            large = rows @ maps[0] @ columns.T
            large = large.flip(-1) if mirrored else large
            total = large if total is None else total + large
    assert total is not None
    return total[list(classes)]


def plain(case: Case, images: Sequence[UInt8[Tensor, "1 3 h w"]]) -> None:
    """The plain loop over decoded photos."""
    for photo, image in zip(case.photos, images, strict=True):
        plain_maps(case.make, image.to(case.make.device), case.classes(photo)).cpu()


def ready(case: Case) -> list[list[Float32[Tensor, "v 3 _h _w"]]]:
    """The views of every batch, as the network takes them."""
    make, found = case.make, []
    for _, images in photo_batches(case.manifest, case.photos, device=make.device, workers=1):
        scaled = [resized(images, scale) for scale in make.scales]
        views = [torch.cat([one, one.flip(-1)]) if make.flip else one for one in scaled]
        found.append([view.to(make.device) for view in views])
    return found


def bare(case: Case, batches: Sequence[Sequence[Float32[Tensor, "v 3 _h _w"]]]) -> None:
    """The network alone."""
    make, context = case.make, case.context

    def features(views: Sequence[Tensor]) -> None:
        with torch.no_grad(), autocast(context.precision, make.device):
            for part in (part for view in views for part in make.parts(view)):
                make.network(part)

    for _ in in_streams(features, batches, device=make.device, streams=context.workers):
        pass


def stage(case: Case) -> None:
    """What the stage does, once its classifier is loaded."""
    with tempfile.TemporaryDirectory() as folder:
        made = write_cams(
            case.make, case.manifest, case.photos, out=Path(folder), context=case.context
        )
        for _ in made:
            pass


def differences(case: Case, precision: str, *, photos: int = 4) -> tuple[float, float]:
    """(largest, mean) difference of normalised scores between the stage's maps and the plain ones.

    The stage's went through the rounding of a file.
    """
    found: list[float] = []
    device, some = case.make.device, case.photos[:photos]
    for batch, images in photo_batches(case.manifest, some, device=device, workers=1):
        classes = [case.classes(photo) for photo in batch]
        with autocast(precision, device):
            made = case.make(images.to(device), classes)
        for at, (photo, maps) in enumerate(zip(batch, made, strict=True)):
            other = plain_maps(case.make, images[at : at + 1].to(device), classes[at])
            own, field = (
                Cam(np.array(classes[at], np.int64), one.cpu().numpy(), photo.size)
                for one in (maps, other)
            )
            gap = np.abs(rounded(own).normalised() - field.normalised())
            found += gap.ravel().tolist()
    return max(found, default=0.0), statistics.fmean(found) if found else 0.0


def timed(work: Callable[[], None], device: torch.device) -> tuple[float, float]:
    """(wall, processor) seconds of `work`."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - processor


def measured(case: Case, rounds: int) -> dict[str, tuple[float, float]]:
    """Median (wall, processor) ratios, "of the bare network" and "times the plain loop"."""
    device, count = case.make.device, len(case.photos)
    batches = ready(case)
    images = {photo.id: image for photo, image in _decoded(case)}
    each = [images[photo.id] for photo in case.photos]
    bare(case, batches[:1])  # the first pass sets up what later ones find
    ratios: list[tuple[tuple[float, float], tuple[float, float]]] = []
    for _ in range(rounds):
        alone = timed(lambda: bare(case, batches), device)
        whole = timed(lambda: stage(case), device)
        loop = timed(lambda: plain(case, each), device)
        beside = (alone[0] / whole[0], alone[1] / whole[1])
        times = (loop[0] / whole[0], loop[1] / whole[1])
        ratios.append((beside, times))
        print(
            f"bare {count / alone[0]:6.2f}/s   stage {count / whole[0]:6.2f}/s   "
            f"plain {count / loop[0]:6.2f}/s   of bare {beside[0]:.3f}, of its processor time "
            f"{beside[1]:.3f}   times plain {times[0]:.2f}, of processor time {times[1]:.2f}",
            flush=True,
        )
    names = ("of the bare network", "times the plain loop")
    columns = zip(names, zip(*ratios, strict=True), strict=True)
    return {
        name: (statistics.median(a for a, _ in of), statistics.median(b for _, b in of))
        for name, of in columns
    }


def _decoded(case: Case) -> list[tuple[Photo, UInt8[Tensor, "1 3 h w"]]]:
    read = photo_batches(case.manifest, case.photos, device=torch.device("cpu"), workers=1)
    return [
        (photo, images[at : at + 1]) for batch, images in read for at, photo in enumerate(batch)
    ]


def main(argv: Sequence[str]) -> int:
    """Print the agreement and the ratios, round by round; 1 where the maps differ."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cams",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--run", type=Path, required=True, help="runs/NAME, made up to `cams`")
    parser.add_argument("--dataset.root", dest="root", type=Path, help="the photos of the run")
    parser.add_argument("--photos", type=int, default=48, help="photos taken (default: 48)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    asked = parser.parse_args(argv)
    context = Context(asked.device, asked.precision, asked.workers)
    case = Case.of(asked.run, asked.root, photos=asked.photos, context=context)
    for precision in dict.fromkeys(("float32", asked.precision)):
        largest, mean = differences(case, precision)
        print(f"{precision}: normalised scores differ by {largest:.5f} at most, {mean:.6f} on mean")
        if precision == "float32" and largest > AGREEMENT:
            print(f"that is more than the rounding of a file, {AGREEMENT:.5f}", file=sys.stderr)
            return 1
    for name, (wall, processor) in measured(case, asked.rounds).items():
        print(f"{name}: {wall:.2f}, of processor time {processor:.2f} (medians)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
