"""The trainings of stage `classify`, one after the other over one checkpoint."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from data.loader import Batch, PhotoSet, TrainingLoader
from data.manifest import Manifest
from data.transforms import TrainTransform
from pipeline.context import Context
from stages.classify import Config
from stages.nets.classifier import Classifier
from stages.nets.device import autocast
from stages.nets.fit import SCHEDULES, Schedule, fit
from stages.nets.optimiser import OPTIMISERS
from stages.nets.pooled import pooled_loader, read_gathered, read_pooled
from stages.nets.recam import class_feature_loader, class_features, softmax_loss
from stages.nets.streams import one_thread
from stages.nets.tag_loss import Logits, tag_loss

CHECKPOINT_SECONDS = 30.0
"""Time between checkpoints: what a killed training loses at most."""
HEAD, NODES, WHOLE, RECAM = range(4)
"""The phases, in their order; each is told apart in the checkpoint and in the metrics."""


@dataclass(frozen=True)
class ClassifyTraining:
    """The phases of one classifier; each continues from `out/checkpoint.pt` where there is one."""

    config: Config
    classifier: Classifier
    manifest: Manifest
    context: Context
    out: Path

    @property
    def device(self) -> torch.device:
        """Where the classifier is."""
        return self.classifier.linear.weight.device

    def head(self, features: Path) -> None:
        """Linear weights and graph branch on pooled features of whole photos, mirrored too."""
        config = self.config
        seen = read_pooled(features, self.manifest.split("train"), "views")
        graph_lr = config.lr_head * config.graph_lr / config.lr
        groups = self.classifier.groups(lr=config.lr_head, graph_lr=graph_lr, nodes=False)

        def step(batch: tuple[Tensor, Tensor]) -> Tensor:
            pooled, tags = batch[0].to(self.device), batch[1].to(self.device)
            return self._loss(self.classifier.score(pooled), tags)

        with one_thread():
            self._fit(
                HEAD,
                step,
                torch.optim.AdamW(groups, weight_decay=config.decay_head),
                pooled_loader(seen, self._tags(), batch_size=config.batch_size, seed=config.seed),
                epochs=config.epochs_head,
                schedule=SCHEDULES[config.schedule](config.warmup),
                clip=config.clip,
            )

    def nodes(self, features: Path) -> None:
        """The node branch alone, on what each class sees of whole photos, mirrored too.

        Linear weights, hence the attention, and graph branch stay as they are, so that they are the
        same whatever the nodes are, and that each class has to look but once.
        """
        nodes, config = self.classifier.nodes, self.config.nodes
        if nodes is None or config.epochs == 0:
            return
        seen = read_gathered(features, self.manifest.split("train"), self.classifier)

        def step(batch: tuple[Tensor, Tensor]) -> Tensor:
            scores = nodes.nodes(batch[0].to(self.device, torch.float32)).scores
            return functional.multilabel_soft_margin_loss(scores, batch[1].to(self.device))

        torch.manual_seed(self.config.seed)
        self._fit(
            NODES,
            step,
            torch.optim.AdamW(nodes.parameters(), lr=config.lr, weight_decay=config.decay),
            pooled_loader(
                seen, self._tags(), batch_size=self.config.batch_size, seed=self.config.seed
            ),
            epochs=config.epochs,
        )

    def whole(self) -> None:
        """The whole network on augmented crops."""
        config, classifier = self.config, self.classifier
        if config.epochs == 0:
            return
        loader = TrainingLoader(
            PhotoSet.of(self.manifest, self.manifest.split("train")),
            batch_size=config.batch_size,
            transform=TrainTransform(
                crop=config.crop, scale=config.scale, side=config.side, jitter=config.jitter
            ),
            seed=config.seed,
            workers=self.context.workers,
        )

        def step(batch: Batch) -> Tensor:
            with autocast(self.context.precision, self.device):
                features = classifier.features(batch.images.to(self.device))
            return self._loss(classifier.judge(features), batch.tags.to(self.device))

        self._fit(
            WHOLE,
            step,
            self._optimiser(),
            loader,
            epochs=config.epochs,
            schedule=SCHEDULES[config.schedule](config.warmup),
            clip=config.clip,
            steps=loader.steps_per_epoch,
        )

    def recam(self) -> None:
        """The second weights u alone, by the softmax cross entropy of U F_c against c.

        The released code goes on training the backbone and w beside u, at a tenth of u's rate; here
        they are left alone, so that F_c is computed once and linear maps stay what they were.
        """
        config, second = self.config.recam, self.classifier.recam
        if second is None:
            return
        photos = self.manifest.split("train")
        found = class_features(self.classifier, self.manifest, photos, context=self.context)

        def step(batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
            features, classes, of = (part.to(self.device) for part in batch)
            return softmax_loss(second(features), classes, of)

        with one_thread():
            self._fit(
                RECAM,
                step,
                torch.optim.AdamW(second.parameters(), lr=config.lr, weight_decay=config.decay),
                class_feature_loader(
                    found,
                    count=len(photos),
                    batch_size=self.config.batch_size,
                    seed=self.config.seed,
                ),
                epochs=config.epochs,
            )

    def _fit(
        self,
        phase: int,
        step: Callable[[Any], Tensor],
        optimiser: torch.optim.Optimizer,
        loader: Callable[[int, int], Any],
        *,
        epochs: int,
        schedule: Schedule | None = None,
        clip: float | None = None,
        steps: int | None = None,
    ) -> None:
        """One phase; without `steps` an epoch ends with a batch that may be smaller."""
        photos = len(self.manifest.split("train"))
        self.classifier.train()
        if phase == WHOLE and self.config.backbone_lr == 0:
            self.classifier.backbone.eval()  # batch norm would go on averaging
        fit(
            step,
            self.classifier,
            optimiser,
            schedule or SCHEDULES["poly"](0.0),
            loader,
            epochs=epochs,
            steps_per_epoch=steps or -(-photos // self.config.batch_size),
            clip=clip,
            checkpoint=self.out / "checkpoint.pt",
            every_seconds=CHECKPOINT_SECONDS,
            context=self.context,
            metrics=self.out / "metrics.jsonl",
            phase=phase,
        )

    def _loss(self, logits: Logits, tags: Tensor) -> Tensor:
        return tag_loss(
            logits,
            tags,
            graph_weight=self.config.graph_weight,
            node_weight=self.config.nodes.weight,
            mode=self.config.mode,
        )

    def _tags(self) -> Any:
        return self.manifest.tag_matrix(self.manifest.split("train"))

    def _optimiser(self) -> torch.optim.Optimizer:
        config = self.config
        if config.backbone_lr == 0:
            self.classifier.backbone.requires_grad_(False)
        groups = self.classifier.groups(
            lr=config.lr, graph_lr=config.graph_lr, backbone_lr=config.backbone_lr
        )
        decay = config.weight_decay
        return OPTIMISERS[config.optimiser]([{**group, "weight_decay": decay} for group in groups])
