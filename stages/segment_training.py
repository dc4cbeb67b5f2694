"""The workers of stage `segment`: its labels, its network before training, and the training."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.loader import PhotoSet, TrainingLoader
from data.manifest import Manifest
from data.masks import MaskIndex
from data.transforms import TrainTransform
from knowledge.graph import ClassGraph
from pipeline.context import Context
from stages.nets.backbone import Backbone, build_backbone, headless
from stages.nets.classifier import load_classifier
from stages.nets.decoder import levels_read
from stages.nets.feature_cache import FeatureCache, cache_bytes
from stages.nets.fit import SCHEDULES, fit
from stages.nets.heads import Head
from stages.nets.kept import Kept
from stages.nets.losses import Criterion, class_weights
from stages.nets.optimiser import OPTIMISERS, parameter_groups
from stages.nets.segmenter import Segmenter, build_segmenter
from stages.nets.tag_agreement import tag_agreement
from stages.nets.training_step import step_on_features, step_on_images, with_targets
from stages.nets.weights import check_supervision
from stages.pixel_labels import PixelLabels
from stages.segment import Config

CHECKPOINT_SECONDS = 30.0
"""Time between checkpoints: what a killed training loses at most."""


def pixel_labels(
    config: Config, manifest: Manifest, inputs: Mapping[str, Path], context: Context
) -> PixelLabels:
    """What the network is trained on: pseudo-labels, or masks where the settings say so."""
    if config.labels == "masks":
        labels = PixelLabels.drawn(manifest, MaskIndex.of(inputs, context.places))
        context.note(f"upper bound: trained on {len(labels.photos)} masks, not on pseudo-labels")
        return labels
    return PixelLabels.pseudo(
        manifest, inputs["labels"], ignore_band=config.ignore_band, confidence=config.confidence
    )


def new_network(config: Config, inputs: Mapping[str, Path], graph: ClassGraph) -> Segmenter:
    """The network before training: the same seed gives all heads the same backbone and decoder."""
    torch.manual_seed(config.seed)
    backbone = _backbone(config, inputs, graph)
    check_supervision(backbone.card, graph.names)
    segmenter = build_segmenter(
        backbone, config.head, config.head_config(), classes=len(graph.names) + 1, graph=graph
    )
    if config.features != "trained":
        segmenter.backbone.requires_grad_(False)
    return segmenter.to(memory_format=torch.channels_last)


def _backbone(config: Config, inputs: Mapping[str, Path], graph: ClassGraph) -> Backbone:
    if config.weights == "classifier":
        return headless(load_classifier(inputs["classify"], graph).backbone)
    if config.weights == "file" and config.weights_file is None:
        raise ValueError("--segment.weights file needs --segment.weights-file PATH")
    return build_backbone(
        config.backbone,
        output_stride=config.output_stride,
        weights=Path(str(config.weights_file)) if config.weights == "file" else config.weights,
        frozen_norm=config.frozen_norm,
        supervision=config.weights_supervision,
    )


@dataclass
class SegmentTraining:
    """One training of one network."""

    config: Config
    manifest: Manifest
    labels: PixelLabels
    segmenter: Segmenter
    context: Context
    seen: str = "random crops"
    """What a step sees of the photos, in words for the card."""

    def run(self, out: Path) -> None:
        """Train the network in place, from `out/checkpoint.pt` on where there is one."""
        config, segmenter = self.config, self.segmenter
        along = config.features == "trained"
        judge = self._hold_out() if config.keep == "tags" else None
        segmenter.train()
        segmenter.backbone.train(along)
        rates = [(segmenter.head, config.lr), (segmenter.backbone, config.backbone_lr)]
        step, loader = self._feed()
        trained = segmenter if along else segmenter.head
        optimiser = OPTIMISERS[config.optimiser](parameter_groups(rates, config.weight_decay))
        kept = Kept(trained, optimiser, decay=config.ema, judge=judge)
        # Weights are drawn: from here on, arms with other heads see the same dropout draws.
        torch.manual_seed(config.seed + 1)
        fit(
            step,
            nn.ModuleDict({"trained": trained, "kept": kept}),
            optimiser,
            SCHEDULES[config.schedule](config.warmup),
            loader,
            epochs=config.epochs,
            steps_per_epoch=-(-len(self.labels.photos) // config.batch_size),
            clip=config.clip,
            checkpoint=out / "checkpoint.pt",
            every_seconds=CHECKPOINT_SECONDS,
            context=self.context,
            metrics=out / "metrics.jsonl",
            after_epoch=kept.epoch_done,
        )
        kept.finish()

    def _hold_out(self) -> Callable[[nn.Module], float]:
        """Set photos aside; returns what judges weights by how well they name the tags of these."""
        photos = self.labels.photos
        count = max(1, round(self.config.holdout * len(photos)))
        if count >= len(photos):
            raise ValueError("--segment.keep tags needs two train photos or more: one is held out")
        order = np.random.default_rng(self.config.seed).permutation(len(photos)).tolist()
        held = [photos[place] for place in sorted(order[:count])]
        rest = tuple(photos[place] for place in sorted(order[count:]))
        self.labels = replace(self.labels, photos=rest)
        self.context.note(f"{count} train photos held out: their tags choose the epoch to keep")
        backbone = self.segmenter.backbone

        def judge(module: nn.Module) -> float:
            network = Segmenter(backbone, module) if isinstance(module, Head) else module
            assert isinstance(network, Segmenter)
            return tag_agreement(network, self.manifest, held, self.context)

        return judge

    def _feed(self) -> tuple[Callable[[Any], Tensor], Callable[[int, int], Iterable[Any]]]:
        """A step of the training and where its batches come from."""
        config, segmenter, precision = self.config, self.segmenter, self.context.precision
        criterion = self._criterion()
        scales = self._cached_scales()
        if scales:
            cache = FeatureCache(
                segmenter,
                self.labels,
                path=self.manifest.path,
                flip=config.flip,
                context=self.context,
                scales=scales,
            )
            sizes = ", ".join(f"{scale:g}" for scale in scales)
            self.seen = f"whole photos at {sizes} times their size, features cached"
            batches = partial(cache.batches, batch_size=config.batch_size, seed=config.seed)
            step = step_on_features(segmenter, criterion, precision)
            return step, with_targets(segmenter.head, batches)
        along = config.features == "trained"
        on_images = step_on_images(segmenter, criterion, precision, through_backbone=along)
        return on_images, with_targets(segmenter.head, self._crops())

    def _cached_scales(self) -> tuple[float, ...]:
        """The scales whose maps fit into the memory that is allowed; none without a cache.

        It depends on settings and photos alone, not on the machine, so that the result does not. A
        head that reads less than head `none` is held against what that one reads: of two heads that
        are compared, one on whole photos and one on crops would be no fair pair.
        """
        config, photos = self.config, self.labels.photos
        if config.features != "cached":
            return ()
        least = levels_read(self.segmenter.backbone.strides, config.head_config())
        for scales in dict.fromkeys((config.cache_scales, (1.0,))):
            taken = cache_bytes(
                self.segmenter, photos, flip=config.flip, scales=scales, least=least
            )
            size = taken / 2**30
            if size <= config.cache_gib:
                return scales
            self.context.note(
                f"the maps of {len(photos)} photos at {len(scales)} scales would take "
                f"{size:.1f} GiB, more than --segment.cache-gib {config.cache_gib:g}"
            )
        self.context.note("the frozen backbone runs in every step instead")
        return ()

    def _crops(self) -> TrainingLoader:
        config, labels = self.config, self.labels
        weight = labels.weight if labels.confidence is not None else None
        drawn = ("crop", "side", "scale", "flip", "jitter")
        return TrainingLoader(
            PhotoSet.of(self.manifest, labels.photos, label=labels.label, weight=weight),
            batch_size=config.batch_size,
            transform=TrainTransform(**{name: getattr(config, name) for name in drawn}),
            seed=config.seed,
            workers=self.context.workers,
        )

    def _criterion(self) -> Criterion:
        pixels = torch.from_numpy(self.labels.pixels())
        weights = class_weights(pixels, self.config.class_power)
        return Criterion(
            self.segmenter.head,
            stride=self.config.loss_stride,
            lovasz=self.config.lovasz,
            class_weights=weights.to(self.segmenter.backbone.mean.device),
        )
