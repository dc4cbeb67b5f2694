"""A linear classifier of places: what the labels so far say, in terms of a backbone's features.

Trained on many photos at once it keeps what their labels agree on and forgets where single ones are
wrong; self-training in its simplest form.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, Integer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from data.files import replacing
from data.labels import ignored
from stages.nets.losses import class_weights
from stages.nets.settings import PixelConfig
from stages.nets.streams import one_thread


class Samples(NamedTuple):
    """Places of many photos."""

    features: Float32[Tensor, "n d"]
    labels: Int64[Tensor, " n"]
    """0 background, 1..C classes."""


class PixelClassifier(nn.Module):
    """Standardised features to logits of the background and C classes."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int, classes: int) -> None:
        """`width` features, `classes` with the background."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.linear = nn.Linear(width, classes)

    def forward(self, features: Float[Tensor, "*n d"]) -> Float32[Tensor, "*n c"]:
        """Logits of cells."""
        logits: Tensor = self.linear(self._standard(features))
        return logits

    def _standard(self, features: Float[Tensor, "*n d"]) -> Float32[Tensor, "*n d"]:
        return (features.float() - self.mean) / self.deviation

    def fit(self, samples: Samples, config: PixelConfig, *, seed: int) -> None:
        """Train on `samples`, in place; same samples and seed, same weights.

        Raises ValueError where there is no sample.
        """
        if not len(samples.labels):
            raise ValueError("no place of any photo has a label: look at the labels so far")
        features = samples.features
        self.mean.copy_(features.mean(dim=0))
        self.deviation.copy_(features.std(dim=0, correction=0).clamp_min(1e-5))
        counts = torch.bincount(samples.labels, minlength=self.linear.out_features)
        weights = class_weights(counts, config.class_power).to(features.device)
        optimiser = torch.optim.AdamW(
            self.linear.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        torch.manual_seed(seed)
        with one_thread():
            for _ in range(config.epochs):
                for rows in torch.randperm(len(features)).split(config.batch_size):
                    seen = functional.dropout(self._standard(features[rows]), config.dropout)
                    loss = functional.cross_entropy(
                        self.linear(seen), samples.labels[rows], weight=weights
                    )
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()
                    optimiser.step()


def drawn(
    features: Float32[Tensor, "d h w"],
    label: Integer[np.ndarray, "H W"],
    centres: tuple[Float32[Tensor, " h"], Float32[Tensor, " w"]],
    *,
    count: int,
    rng: np.random.Generator,
) -> Samples:
    """At most `count` random cells of one photo with the label at their centres; none ignored.

    centres: of the cells' receptive fields along each axis, in pixels of the photo.
    """
    rows, columns = (
        np.clip(axis.cpu().numpy().astype(np.int64), 0, side - 1)
        for axis, side in zip(centres, label.shape, strict=True)
    )
    labels = label[np.ix_(rows, columns)].ravel()
    known = np.flatnonzero(~ignored(labels))
    taken = rng.choice(known, min(count, len(known)), replace=False)
    return Samples(
        features.flatten(1).T[torch.from_numpy(taken).to(features.device)],
        torch.from_numpy(labels[taken].astype(np.int64)).to(features.device),
    )


def save_pixel_classifier(path: Path, classifier: PixelClassifier) -> None:
    """Write its tensors to `path`, atomically."""
    state = {key: value.cpu().contiguous() for key, value in classifier.state_dict().items()}
    with replacing(path) as temporary:
        save_file(state, temporary)


def load_pixel_classifier(path: Path) -> PixelClassifier:
    """What `save_pixel_classifier` wrote, on the CPU. Raises ValueError naming a damaged file."""
    try:
        state = load_file(path)
        classes, width = state["linear.weight"].shape
        classifier = PixelClassifier(width, classes)
        classifier.load_state_dict(state)
    except (SafetensorError, RuntimeError, KeyError, ValueError) as problem:
        raise ValueError(f"{path} holds no pixel classifier ({problem}): delete it") from problem
    return classifier.eval().requires_grad_(False)
