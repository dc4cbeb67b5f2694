"""The torch engine: photos of any sizes in one lattice, for a GPU.

The same lattice as `stages/crf/reference/lattice.py`, where each step is explained; a photo's
number is part of the name of a lattice point, so photos do not touch. One photo alone would not
fill a GPU: starting some 300 small operations would take longer than they do.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from stages.crf.geometry import Geometry
from stages.crf.lattice import check_image, energies_of
from stages.crf.parameters import CrfParameters, Normalization, Numbers
from stages.crf.refine import Item
from stages.nets.device import pick_device

PIXELS = {"cuda": 4_000_000, "cpu": 1_000_000}
"""Pixels of a batch, times its labels over 4: 10 GB and 2.5 GB at most."""
NOWHERE = 1e30
"""Energy of a label that a photo has not."""


class Kernel(NamedTuple):
    """A lattice of n pixels, with its normalisation."""

    corners: Int64[Tensor, "n coordinates"]
    """Lattice points of each pixel's simplex, counted from 1."""
    weights: Float32[Tensor, "n coordinates"]
    neighbours: Int64[Tensor, "axes 2 m"]
    """Along each axis; 0: not there."""
    inner: Float32[Tensor, "n 1"] | None
    outer: Float32[Tensor, "n 1"] | None

    def message(self, values: Float32[Tensor, "n k"]) -> Float32[Tensor, "n k"]:
        """The normalised Gaussian sum of all pixels' values: splat, blur, slice."""
        if self.inner is not None:
            values = values * self.inner
        lattice = values.new_zeros(self.neighbours.shape[2] + 1, values.shape[1])
        for corner, weight in zip(self.corners.T, self.weights.T, strict=True):
            lattice.index_add_(0, corner, values * weight[:, None])
        for left, right in self.neighbours:
            lattice[1:] += 0.5 * (lattice[left] + lattice[right])
        sliced = torch.zeros_like(values)
        for corner, weight in zip(self.corners.T, self.weights.T, strict=True):
            sliced += lattice[corner] * weight[:, None]
        sliced *= 1 / (1 + 2.0 ** -(len(self.neighbours) - 1))
        return sliced if self.outer is None else sliced * self.outer


class Batch:
    """The lattices of several photos."""

    def __init__(
        self,
        images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
        numbers: Sequence[Numbers],
        normalization: Normalization,
        *,
        device: torch.device,
    ) -> None:
        """Build them; `numbers` gives each photo its widths."""
        sizes = [image.shape[:2] for image in images]
        self._device = device
        self._lengths = [height * width for height, width in sizes]
        even = [(each.gaussian_sxy,) * 2 for each in numbers]
        near = [(each.bilateral_sxy,) * 2 + (each.bilateral_srgb,) * 3 for each in numbers]
        self._kernels = [
            _kernel(images, widths, normalization, device=device) for widths in (even, near)
        ]

    def infer(
        self, energies: Sequence[Float32[np.ndarray, "_ _"]], numbers: Numbers
    ) -> list[Float32[np.ndarray, "_ _"]]:
        """Label probabilities (k, n) of each photo from its energies (k, n); k may differ."""
        most = max(len(each) for each in energies)
        padded = torch.full((sum(self._lengths), most), NOWHERE)
        for rows, each in zip(padded.split(self._lengths), energies, strict=True):
            rows[:, : len(each)] = torch.from_numpy(each.T)
        unary = padded.to(self._device)
        q = torch.softmax(-unary, dim=1)
        for _ in range(numbers.iterations):
            logits = -unary
            weights = (numbers.gaussian_weight, numbers.bilateral_weight)
            for weight, kernel in zip(weights, self._kernels, strict=True):
                logits += weight * kernel.message(q)
            q = torch.softmax(logits, dim=1)
        parts = q.cpu().split(self._lengths)
        return [
            np.ascontiguousarray(part.numpy().T[: len(each)])
            for part, each in zip(parts, energies, strict=True)
        ]


def _kernel(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    widths: Sequence[tuple[float, ...]],
    normalization: Normalization,
    *,
    device: torch.device,
) -> Kernel:
    """The lattice of all photos' pixels."""
    sizes = np.array([image.shape[:2] for image in images])
    height, width = (int(side) for side in sizes.max(axis=0))
    narrowest = tuple(float(least) for least in np.min(widths, axis=0))
    geometry = Geometry.of((height, width), narrowest)
    features = torch.cat(
        [_features(image, each, device) for image, each in zip(images, widths, strict=True)], dim=1
    )
    lengths = torch.tensor(sizes.prod(axis=1), device=device)
    photo = torch.arange(len(images), device=device).repeat_interleave(lengths)
    nearest, rank, weights = _embed(features, geometry)
    room = geometry.room
    if room * len(images) >= 2**63:
        raise ValueError("the dense CRF's kernels are too narrow for so many photos at a time")
    corners = _corners(nearest, rank, geometry) + (photo * room)[:, None]
    points, found = torch.unique(corners, return_inverse=True)
    strides = torch.tensor([0, *geometry.strides.tolist()], device=device)
    steps = len(strides) * strides - strides.sum()
    neighbours = torch.stack([_neighbours(points, step) for step in steps])
    kernel = Kernel(found + 1, weights, neighbours, None, None)
    if normalization == "none":
        return kernel
    sums = kernel.message(torch.ones(len(weights), 1, device=device)) + 1e-20
    factor = sums.rsqrt() if normalization == "symmetric" else 1 / sums
    return kernel._replace(
        inner=None if normalization == "after" else factor,
        outer=None if normalization == "before" else factor,
    )


def _features(
    image: UInt8[np.ndarray, "h w 3"], widths: tuple[float, ...], device: torch.device
) -> Float32[Tensor, "d n"]:
    """x, y and, for five widths, the colours, in standard deviations."""
    rows, columns = image.shape[:2]
    y, x = torch.meshgrid(
        torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij"
    )
    planes = [x.flatten(), y.flatten()]
    if len(widths) > 2:
        planes += list(torch.from_numpy(image.copy()).to(device).reshape(-1, 3).T)
    scale = torch.tensor(widths, dtype=torch.float32, device=device)
    return torch.stack(planes).float() / scale[:, None]


def _embed(
    features: Float32[Tensor, "d n"], geometry: Geometry
) -> tuple[
    Int64[Tensor, "coordinates n"], Int64[Tensor, "coordinates n"], Float32[Tensor, "n coordinates"]
]:
    """Simplex (corner of colour 0 in units of d+1, ranks) and barycentric weights of each pixel."""
    size = len(features) + 1
    elevated = features.new_empty(size, features.shape[1])
    above = torch.zeros_like(features[0])
    for axis in range(size - 1, 0, -1):
        scaled = features[axis - 1] * float(geometry.scales[axis - 1])
        elevated[axis] = above - axis * scaled
        above += scaled
    elevated[0] = above
    share = float(np.float32(1) / np.float32(size))
    multiple = torch.round(elevated * share)
    offset = elevated - multiple * size
    rank = torch.zeros_like(offset, dtype=torch.int64)
    for one in range(size):
        for other in range(one + 1, size):
            less = offset[one] < offset[other]
            rank[one] += less
            rank[other] += ~less
    rank += multiple.sum(dim=0).long()
    wrap = (rank < 0).long() - (rank >= size).long()
    rank += wrap * size
    multiple += wrap
    offset = (elevated - multiple * size) * share
    ordered = torch.empty_like(offset).scatter_(0, size - 1 - rank, offset).T  # rising
    first = ordered[:, :1] + (1 - ordered[:, -1:])
    weights = torch.cat([first, ordered[:, 1:] - ordered[:, :-1]], dim=1)
    return multiple.long(), rank, weights


def _corners(
    nearest: Int64[Tensor, "coordinates n"],
    rank: Int64[Tensor, "coordinates n"],
    geometry: Geometry,
) -> Int64[Tensor, "n coordinates"]:
    """Names of the corners of each pixel's simplex."""
    size = len(nearest)
    lowest = torch.tensor(geometry.lowest, device=nearest.device).long()
    strides = torch.tensor([0, *geometry.strides.tolist()], device=nearest.device)
    start = ((nearest - lowest[:, None]) * strides[:, None]).sum(dim=0) * size
    by_rank = strides[torch.argsort(rank, dim=0, descending=True)]  # highest rank first
    steps = strides.sum() - size * by_rank[:-1]
    return torch.cat([start[None], start + steps.cumsum(dim=0)]).T


def _neighbours(points: Int64[Tensor, " m"], step: Int64[Tensor, ""]) -> Int64[Tensor, "2 m"]:
    """Numbers (from 1) of the points one step before and after each of the sorted `points`."""
    found = []
    for wanted in (points - step, points + step):
        place = torch.searchsorted(points, wanted).clamp_(max=len(points) - 1)
        found.append(torch.where(points[place] == wanted, place + 1, 0))
    return torch.stack(found)


def refine_batches(
    items: Iterable[Item], parameters: CrfParameters, *, device: str = "auto"
) -> Iterator[tuple[Item, Float32[np.ndarray, "*groups k h w"]]]:
    """Yield each item with its Q, in order, made in batches of as many photos as fit.

    Raises as `stages.crf.refine.refine_many`.
    """
    where = pick_device(device)
    waiting: list[Item] = []
    pixels = 0
    for item in items:
        cost = item.probabilities.size // 4
        if waiting and pixels + cost > PIXELS[where.type]:
            yield from _refine(waiting, parameters, where)
            waiting, pixels = [], 0
        waiting.append(item)
        pixels += cost
    if waiting:
        yield from _refine(waiting, parameters, where)


def _refine(
    items: Sequence[Item], parameters: CrfParameters, device: torch.device
) -> Iterator[tuple[Item, Float32[np.ndarray, "*groups k h w"]]]:
    """One batch. Groups of a photo are further labellings on the same lattice."""
    numbers = [parameters.numbers(item.scale) for item in items]
    unaries = [_energies(item) for item in items]
    batch = Batch([item.image for item in items], numbers, parameters.normalization, device=device)
    groups = [unary.reshape(-1, unary.shape[-3], math.prod(unary.shape[-2:])) for unary in unaries]
    rounds = max(len(group) for group in groups)
    found = [
        batch.infer([group[min(turn, len(group) - 1)] for group in groups], numbers[0])
        for turn in range(rounds)
    ]
    for place, item in enumerate(items):
        parts = [found[turn][place] for turn in range(len(groups[place]))]
        yield item, np.stack(parts).reshape(item.probabilities.shape)


def _energies(item: Item) -> Float32[np.ndarray, "*groups k h w"]:
    """Raises ValueError naming the photo."""
    try:
        check_image(item.image)
        return energies_of(item.probabilities, (item.image.shape[0], item.image.shape[1]))
    except ValueError as error:
        raise ValueError(f"{item.name}: {error}" if item.name else str(error)) from error


class TorchEngine:
    """A batch of one photo."""

    def __init__(
        self, image: UInt8[np.ndarray, "h w 3"], numbers: Numbers, normalization: Normalization
    ) -> None:
        self._batch = Batch([image], [numbers], normalization, device=pick_device())

    def infer(
        self, energies: Float32[np.ndarray, "g k n"], numbers: Numbers, *, margin: float | None
    ) -> Float32[np.ndarray, "g k n"]:
        """See `stages.crf.engines.Engine`; always exact."""
        del margin
        return np.stack([self._batch.infer([each], numbers)[0] for each in energies])


def make(
    image: UInt8[np.ndarray, "h w 3"],
    numbers: Numbers,
    normalization: Normalization,
) -> TorchEngine:
    """An engine of a photo."""
    return TorchEngine(image, numbers, normalization)
