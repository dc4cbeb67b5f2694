"""Class activation maps: where a classifier's evidence lies, at several scales and mirrored."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from jaxtyping import Float, Float32, Float64, UInt8
from torch import Tensor
from torch.nn import functional

from stages.nets.backbone import Backbone
from stages.nets.classifier import Classifier, Mapped
from stages.nets.folded import folded
from stages.nets.node_branch import attention
from stages.nets.resize import as_seen

GRID = 4
"""Photo pixels per cell of the finished maps, along each axis."""
VIEW_PIXELS = {"cpu": 1 << 18, "cuda": 1 << 24}
"""Pixels of views that go through the network at once, by kind of device: on a CPU few enough for
its maps to stay in the cache."""


class CamMaker:
    """Makes the maps of photos of one size, for one trained classifier.

    M_c(p) = ReLU(w_c . X_p) * softmax_c(w . X_p - m)^competition, X the last feature map, summed
    over the scales and over each scale's mirror image (IRN, jiwoon-ahn/irn, step/make_cam.py;
    without the softmax that is their map). Not normalised. The softmax over all classes lets
    classes compete for a pixel; 0 leaves it out. m_c is the mean score of class c over the train
    photos that show it: else a class that almost every photo shows, whose score is high everywhere,
    would take the places of all others.

    branch "recam" takes w_c * u_c for the w of M; "readout" what each place adds to the score of
    class c's node, "nodes" how much that class looks at the place (`NodeBranch`). The softmax of
    these three is that of the linear weights w, whose logits are scores.

    Exact mirror symmetry: photos are padded at the bottom and right only, so features are read at
    the true place of each cell of the finished grid before the mirror image is turned back, and the
    two are added. A mirrored photo then swaps the two terms of a sum of two.

    Nothing is recorded for gradients and no hook is set: a linear classifier needs neither.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        branch: Mapped = "linear",
        scales: Sequence[float] = (1.0, 0.5, 1.5, 2.0),
        flip: bool = True,
        competition: float = 0.0,
    ) -> None:
        self.classifier = classifier.eval()
        self.scales, self.flip, self.competition = tuple(scales), flip, competition
        self.branch = branch
        self.weights, self.rivals = _weights(classifier, branch)
        with torch.no_grad():
            self.usual = classifier.usual(self.rivals)[:, None, None]
        self.stride = classifier.backbone.strides[-1]
        self.shift = classifier.backbone.shift

    @property
    def device(self) -> torch.device:
        """Where the classifier is."""
        return self.classifier.linear.weight.device

    @cached_property
    def network(self) -> Backbone:
        """The classifier's backbone for looking only."""
        return folded(self.classifier.backbone)

    @torch.no_grad()
    def __call__(
        self, images: UInt8[Tensor, "b 3 h w"], classes: Sequence[Sequence[int]]
    ) -> list[Float32[Tensor, "_k h4 w4"]]:
        """Maps >= 0 of the given classes (0-based) of every photo, on ceil(h/4) x ceil(w/4) cells.

        Call it inside `autocast`: features are made in that precision, maps in float32.
        """
        return shared_maps([self], images, classes)[0]

    def seen(
        self, images: UInt8[Tensor, "b 3 h w"]
    ) -> Iterator[tuple[tuple[int, int], Float32[Tensor, "_v d _h _w"]]]:
        """(height, width) of the photos at each scale, with features of them and of their mirrors.

        Photos of more than `SEEN` pixels are seen smaller (`stages.nets.resize.seen_at`).

        They depend on the backbone alone: makers that share it make maps of the same features.
        """
        for scale in self.scales:
            scaled = as_seen(images, scale)
            views = torch.cat([scaled, scaled.flip(-1)]) if self.flip else scaled
            yield (scaled.shape[-2], scaled.shape[-1]), self._features(views)

    def parts(self, views: Float[Tensor, "v 3 _h _w"]) -> tuple[Tensor, ...]:
        """The views that go through the network at once."""
        most = VIEW_PIXELS.get(views.device.type, VIEW_PIXELS["cpu"])
        return views.split(max(1, most // (views.shape[-2] * views.shape[-1])))

    def _features(self, views: Float[Tensor, "v 3 _h _w"]) -> Float32[Tensor, "v d _h4 _w4"]:
        """X of every view, as `Classifier.features` gives it."""
        levels = len(self.classifier.widths)
        maps = [self.network(part)[-levels:] for part in self.parts(views)]
        found = [one[0] if levels == 1 else torch.cat(one, dim=1) for one in maps]
        return (found[0] if len(found) == 1 else torch.cat(found)).float()

    def made(
        self,
        features: Float[Tensor, "_v d _h _w"],
        classes: Sequence[Sequence[int]],
        *,
        axes: tuple[Tensor, Tensor],
    ) -> list[Float32[Tensor, "_k _h4 _w4"]]:
        """The maps at one scale: `features` as `seen` gives them, `axes` as `finished` does."""
        maps = self._activations(features)
        return [
            self._photo(maps, at, len(classes), torch.tensor(list(k), dtype=torch.long), axes)
            for at, k in enumerate(classes)
        ]

    def finished(
        self,
        features: Float[Tensor, "_v d _h _w"],
        *,
        scaled: tuple[int, int],
        photo: tuple[int, int],
    ) -> tuple[Float32[Tensor, "_h4 _h"], Float32[Tensor, "_w4 _w"]]:
        """What brings rows and columns of maps of these features to the finished grid."""
        cells = (features.shape[-2], features.shape[-1])
        rows, columns = (
            self._matrix(n, whole, length, features)
            for n, whole, length in zip(cells, photo, scaled, strict=True)
        )
        return rows, columns

    def _activations(self, features: Float[Tensor, "b d _h _w"]) -> Float32[Tensor, "b c _h _w"]:
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            evidence = self._evidence(features)
            maps = functional.relu(evidence)
            if self.competition > 0:
                same = self.rivals is self.weights
                rivals = evidence if same else _scored(features, self.rivals)
                maps = maps * torch.softmax(rivals - self.usual, dim=1) ** self.competition
        return maps

    def _evidence(self, features: Float[Tensor, "b d h w"]) -> Float32[Tensor, "b c h w"]:
        if self.weights is not None:
            return _scored(features, self.weights)
        places, nodes = features.flatten(2).transpose(1, 2), self.classifier.nodes
        if nodes is None or self.branch == "nodes":
            found = attention(places, self.rivals)
        else:
            found = nodes.evidence(places, self.rivals)
        return found.unflatten(2, features.shape[2:])

    def _matrix(self, cells: int, photo: int, scaled: int, like: Tensor) -> Float32[Tensor, "t n"]:
        target = math.ceil(photo / GRID)
        matrix = resampling(
            cells, stride=self.stride, length=scaled, target=target, shift=self.shift
        )
        return matrix.to(like.device, torch.float32)

    def _photo(
        self,
        maps: Float32[Tensor, "views c h w"],
        at: int,
        photos: int,
        classes: Tensor,
        axes: tuple[Tensor, Tensor],
    ) -> Float32[Tensor, "_k _h4 _w4"]:
        """One photo's maps on the finished grid, its mirror image turned back and added."""
        rows, columns = axes
        with torch.autocast(maps.device.type, enabled=False):
            straight = rows @ maps[at, classes] @ columns.T
            if not self.flip:
                return straight
            mirrored = rows @ maps[photos + at, classes] @ columns.T
        return straight + mirrored.flip(-1)


@torch.no_grad()
def shared_maps(
    makers: Sequence[CamMaker],
    images: UInt8[Tensor, "b 3 h w"],
    classes: Sequence[Sequence[int]],
) -> list[list[Float32[Tensor, "_k h4 w4"]]]:
    """The maps of every maker, bit for bit as it makes them alone, from one pass of the backbone.

    All makers share backbone, scales and flip. classes: of every photo, 0-based.
    """
    photo = (images.shape[-2], images.shape[-1])
    totals: list[list[Tensor]] = [[] for _ in makers]
    for scaled, features in makers[0].seen(images):
        axes = makers[0].finished(features, scaled=scaled, photo=photo)
        for place, maker in enumerate(makers):
            here, total = maker.made(features, classes, axes=axes), totals[place]
            totals[place] = [a + b for a, b in zip(total, here, strict=True)] if total else here
    return totals


def _scored(
    features: Float[Tensor, "b d h w"], weights: Float32[Tensor, "c d"]
) -> Float32[Tensor, "b c h w"]:
    return torch.einsum("cd,bdhw->bchw", weights, features)


def _weights(
    classifier: Classifier, branch: Mapped
) -> tuple[Float32[Tensor, "c d"] | None, Float32[Tensor, "c d"]]:
    """Weights of the maps, None where nodes make them, and of the softmax between classes."""
    if branch in ("nodes", "readout") and classifier.nodes is None:
        raise ValueError(
            "this classifier has no nodes: set cams.classifier to linear, or train it with "
            "--classify.nodes.graph dynamic"
        )
    with torch.no_grad():
        linear = classifier.class_weights("linear").float()
        if branch in ("nodes", "readout"):
            return None, linear
        weights = classifier.class_weights(branch).float()
    return weights, linear if branch == "recam" else weights


def resampling(
    cells: int, *, stride: int, length: int, target: int, shift: float = 0.0
) -> Float64[Tensor, "target cells"]:
    """Linear interpolation from a padded feature axis to `target` cells that cover the photo.

    cells: feature cells along the axis; cell i covers the pixels [i * stride, (i + 1) * stride) of
        a photo that is `length` pixels long, padded at its end.
    shift: pixels by which the receptive field of a cell lies right of that cell's own middle.
    target: cells of the result, which divide the true `length` evenly (align_corners=False).
    Rows sum to 1. Cells that lie wholly in the padding are never read.
    """
    valid = min(cells, math.ceil(length / stride))
    centres = (torch.arange(target, dtype=torch.float64) + 0.5) * (length / target)
    places = ((centres - shift) / stride - 0.5).clamp(0, valid - 1)
    low = places.floor().long()
    share = places - low
    matrix = torch.zeros(target, cells, dtype=torch.float64)
    rows = torch.arange(target)
    matrix[rows, low] += 1.0 - share
    matrix[rows, (low + 1).clamp(max=valid - 1)] += share
    return matrix
