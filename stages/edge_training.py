"""The workers of learned boundaries: features of photos, training on labels, boundary maps."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from data.cams import SCALE, map_size
from data.labels import ignored, read_label, write_grey
from data.manifest import Manifest
from data.records import Photo
from pipeline.context import Context
from stages.edges import Config
from stages.nets.backbone import Backbone
from stages.nets.boundary_net import (
    UNKNOWN,
    BoundaryNet,
    Levels,
    boundary_levels,
    pair_loss,
    pair_losses,
)
from stages.nets.device import autocast
from stages.nets.fit import fit, poly
from stages.nets.pooled import Images, photo_batches
from stages.nets.streams import in_streams, one_thread

EVERY_SECONDS = 60.0
"""Between two checkpoints."""


class Example(NamedTuple):
    """One photo to learn from."""

    levels: Levels
    label: Int64[Tensor, "h4 w4"]
    """Labels at the places of the grid; -1 where they are ignored."""


class Features:
    """What the frozen backbone says of photos, made anew or remembered from the training."""

    def __init__(
        self, config: Config, manifest: Manifest, backbone: Backbone, context: Context
    ) -> None:
        self.config, self.manifest = config, manifest
        self.backbone, self.context = backbone, context
        self.device = backbone.mean.device
        self.known: dict[str, Levels] = {}

    def of(self, photos: Sequence[Photo]) -> Iterator[tuple[Photo, Levels]]:
        """Maps of each photo, with a batch axis of one; remembered ones first."""
        yield from ((photo, self.known[photo.id]) for photo in photos if photo.id in self.known)
        fresh = [photo for photo in photos if photo.id not in self.known]

        def seen(given: tuple[list[Photo], Images]) -> list[tuple[Photo, Levels]]:
            batch, images = given
            with autocast(self.context.precision, self.device):
                maps, axes = boundary_levels(
                    self.backbone,
                    images.to(self.device),
                    scale=self.config.scale,
                    levels=self.config.levels,
                    cells=self.config.cells,
                )
            return [
                (photo, Levels([level[at : at + 1].cpu().clone() for level in maps], axes))
                for at, photo in enumerate(batch)
            ]

        workers = self.context.workers
        batches = photo_batches(self.manifest, fresh, device=self.device, workers=workers)
        for found in in_streams(seen, batches, device=self.device, streams=workers):
            yield from found

    def remember(self, photos: Sequence[Photo]) -> None:
        """Keep the maps of `photos` in memory."""
        for photo, levels in self.of(photos):
            self.known[photo.id] = levels
            self.context.listener.progress(len(self.known), len(photos), "photos looked at")


def drawn(config: Config, photos: Sequence[Photo]) -> list[Photo]:
    """At most `config.photos` of them, by the seed, in their order."""
    if len(photos) <= config.photos:
        return list(photos)
    rng = np.random.default_rng(config.seed)
    places = rng.choice(len(photos), config.photos, replace=False)
    return [photos[place] for place in sorted(places.tolist())]


def learnable(config: Config, photos: Sequence[Photo], labels: Path) -> bool:
    """Whether any label of the photos that the seed draws tells two classes apart."""
    return any(
        len(target[target != UNKNOWN].unique()) > 1
        for photo in drawn(config, photos)
        for target in [cell_labels(labels / f"{photo.id}.png", photo)]
    )


def trained(config: Config, features: Features, *, labels: Path, out: Path) -> BoundaryNet:
    """The boundary network of the labels in `labels`, over the photos that the seed draws."""
    photos = drawn(config, features.manifest.split("train"))
    targets = [cell_labels(labels / f"{photo.id}.png", photo) for photo in photos]
    features.remember(photos)
    device = features.device

    def batches(epoch: int, start: int) -> Iterator[list[Example]]:
        order = np.random.default_rng([config.seed, epoch]).permutation(len(photos)).tolist()
        for first in range(start * config.batch_size, len(photos), config.batch_size):
            chosen = order[first : first + config.batch_size]
            yield [Example(features.known[photos[at].id], targets[at]) for at in chosen]

    def step(batch: list[Example]) -> Float32[Tensor, ""]:
        found = [
            pair_losses(net(moved(one.levels, device))[0], one.label.to(device), config.radius)
            for one in batch
        ]
        sums, counts = (torch.stack(parts).sum(dim=0) for parts in zip(*found, strict=True))
        return pair_loss(sums, counts)

    torch.manual_seed(config.seed)
    net = BoundaryNet(features.backbone.channels[-config.levels :], config.width).to(device)
    with one_thread():
        fit(
            step,
            net,
            torch.optim.AdamW(net.parameters(), lr=config.lr, weight_decay=config.weight_decay),
            poly(warmup=0.1),
            batches,
            epochs=config.epochs,
            steps_per_epoch=-(-len(photos) // config.batch_size),
            clip=None,
            checkpoint=out / "checkpoint.pt",
            every_seconds=EVERY_SECONDS,
            context=features.context,
            metrics=out / "metrics.jsonl",
        )
    return net


def write_boundaries(
    net: BoundaryNet, features: Features, photos: Sequence[Photo], *, out: Path
) -> Iterator[None]:
    """Write the boundary map of every photo; yields after each."""
    for photo, levels in features.of(photos):
        with torch.inference_mode():
            found = torch.sigmoid(net(moved(levels, features.device))[0])
        write_grey(out / f"{photo.id}.png", (found * 255).round().byte().cpu().numpy())
        yield


def moved(levels: Levels, device: torch.device) -> Levels:
    """`levels` on `device`."""
    axes = [(rows.to(device), columns.to(device)) for rows, columns in levels.axes]
    return Levels([level.to(device) for level in levels.maps], axes)


def cell_labels(path: Path, photo: Photo) -> Int64[Tensor, "h4 w4"]:
    """The label at the middle of each place of the grid; -1 where it is ignored.

    Raises ValueError where the label has another size than its photo.
    """
    label = read_label(path)
    if label.shape != photo.size:
        raise ValueError(f"{path} is {label.shape}, its photo {photo.size} (height, width)")
    rows, columns = (
        np.minimum(np.arange(cells) * SCALE + SCALE // 2, side - 1)
        for cells, side in zip(map_size(photo.size), photo.size, strict=True)
    )
    taken = label[np.ix_(rows, columns)]
    return torch.from_numpy(np.where(ignored(taken), UNKNOWN, taken.astype(np.int64)))
