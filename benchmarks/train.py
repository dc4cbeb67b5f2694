"""What training the tag classifier costs beside its bare network.

    python -m benchmarks.train --run runs/voc-mini --dataset.root VOCdevkit/VOC2012
    python -m benchmarks.train --run runs/voc-mini --photos 128 --rounds 5 --crop 256

"Training" is the end-to-end phase of `classify`: photos decoded, augmented and batched in other
processes or threads, steps, metrics, the checkpoint at its end. "Bare" is the same classifier on
the same batches, made beforehand: forward, loss, backward, step of the optimiser and nothing else.
Both take turns from the same weights; each round gives one ratio of wall time, and one of processor
time, which other programs on the machine disturb less (it leaves loading processes out).
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from data.loader import Batch, PhotoSet, TrainingLoader
from data.manifest import Manifest, write_classes, write_photos
from data.transforms import TrainTransform
from knowledge.graph import ClassGraph
from pipeline.context import Context
from stages.classify import Config
from stages.classify_training import ClassifyTraining
from stages.commands.parser import cores
from stages.nets.classifier import Classifier, load_classifier
from stages.nets.device import autocast, pick_device
from stages.nets.optimiser import OPTIMISERS
from stages.nets.tag_loss import tag_loss


class Case(NamedTuple):
    """What is trained, on what, and where its photos and weights come from."""

    run: Path
    manifest: Manifest
    """Of the photos that are taken."""
    config: Config
    context: Context

    def classifier(self) -> Classifier:
        """The classifier of the run, to be trained on."""
        graph = ClassGraph.load(self.run / "graph")
        classifier = load_classifier(self.run / "classify", graph)
        return classifier.to(pick_device(self.context.device)).train()


def case_of(asked: argparse.Namespace, folder: Path) -> Case:
    """The classifier of a finished run on some of its train photos, for one epoch end to end.

    `folder` takes an index of those photos.
    """
    places = {} if asked.root is None else {"dataset.root": asked.root}
    whole = Manifest.of({"index": asked.run / "index"}, places)
    train = whole.split("train")
    step = max(1, len(train) // asked.photos)
    write_classes(folder, whole.classes)
    write_photos(folder, train[::step][: asked.photos])
    for place in (one for one in (asked.run / "index").iterdir() if one.is_dir()):
        (folder / place.name).symlink_to(place.resolve())  # the demo's own photos
    manifest = Manifest.of({"index": folder}, places)
    recipe = json.loads((asked.run / "classify" / "recipe.json").read_text(encoding="utf-8"))
    changes = {"epochs": 1, "batch_size": asked.batch_size, "crop": asked.crop}
    given = {name: value for name, value in changes.items() if value is not None}
    config = Config.model_validate({**recipe["config"], **given})
    context = Context(asked.device, asked.precision, asked.workers)
    return Case(asked.run, manifest, config, context)


def training(case: Case, classifier: Classifier) -> None:
    """One epoch as the stage trains it."""
    with tempfile.TemporaryDirectory() as folder:
        phases = ClassifyTraining(
            case.config, classifier, case.manifest, case.context, Path(folder)
        )
        phases.whole()


def prepared(case: Case) -> list[Batch]:
    """The batches of that epoch."""
    config = case.config
    transform = TrainTransform(
        crop=config.crop, scale=config.scale, side=config.side, jitter=config.jitter
    )
    loader = TrainingLoader(
        PhotoSet.of(case.manifest, case.manifest.split("train")),
        batch_size=config.batch_size,
        transform=transform,
        seed=config.seed,
    )
    return list(loader(0))


def bare(case: Case, classifier: Classifier, batches: Sequence[Batch]) -> None:
    """The network alone: the same steps over batches in memory."""
    config, device = case.config, classifier.linear.weight.device
    groups: list[dict[str, Any]] = classifier.groups(
        lr=config.lr, graph_lr=config.graph_lr, backbone_lr=config.backbone_lr
    )
    decay = {"weight_decay": config.weight_decay}
    optimiser = OPTIMISERS[config.optimiser]([{**group, **decay} for group in groups])
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for batch in batches:
        with autocast(case.context.precision, device):
            features = classifier.features(batch.images.to(device))
        loss = tag_loss(
            classifier.judge(features),
            batch.tags.to(device),
            graph_weight=config.graph_weight,
            node_weight=config.nodes.weight,
            mode=config.mode,
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if config.clip is not None:
            nn.utils.clip_grad_norm_(parameters, config.clip)
        optimiser.step()


def timed(work: Callable[[], None], device: torch.device) -> tuple[float, float]:
    """(wall, processor) seconds of `work`."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - processor


def measured(case: Case, rounds: int) -> tuple[float, float]:
    """Median share of the bare network's rate: (by wall time, by processor time)."""
    batches, device = prepared(case), pick_device(case.context.device)
    count = sum(len(batch.ids) for batch in batches)
    bare(case, case.classifier(), batches[:1])  # the first pass sets up what later ones find
    ratios = []
    for _ in range(rounds):
        first, second = case.classifier(), case.classifier()
        alone = timed(lambda: bare(case, first, batches), device)  # noqa: B023
        whole = timed(lambda: training(case, second), device)  # noqa: B023
        ratios.append((alone[0] / whole[0], alone[1] / whole[1]))
        print(
            f"bare {count / alone[0]:6.2f}/s   training {count / whole[0]:6.2f}/s   "
            f"ratio {ratios[-1][0]:.3f}   of processor time {ratios[-1][1]:.3f}",
            flush=True,
        )
    wall, processor = zip(*ratios, strict=True)
    return statistics.median(wall), statistics.median(processor)


def main(argv: Sequence[str]) -> int:
    """Print both rates and their ratio, round by round, and the median ratios."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--run", type=Path, required=True, help="runs/NAME, made up to `classify`")
    parser.add_argument("--dataset.root", dest="root", type=Path, help="the photos of the run")
    parser.add_argument("--photos", type=int, default=96, help="photos taken (default: 96)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--crop", type=int, help="side of the crops (default: the run's)")
    parser.add_argument("--batch-size", type=int, help="photos a step (default: the run's)")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        case = case_of(asked, Path(folder))
        wall, processor = measured(case, asked.rounds)
    print(f"of the bare network: {wall:.3f}, of processor time {processor:.3f} (medians)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
