"""The networks as ONNX graphs: any size, any batch, 8-bit RGB in, normalisation inside.

Needs `pip install -e '.[onnx]'`. The exporter is torch's own (torch.export).
"""

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, Integer, UInt8
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional

from data.files import replacing
from stages.nets.class_embedding import ClassEmbedding
from stages.nets.classifier import Classifier, Mapped
from stages.nets.segmenter import Segmenter, torch_type
from stages.nets.tag_loss import Scored

NEEDED = ("onnx", "onnxscript")
SEEN = (2, 3, 70, 90)
"""(batch, 3, height, width) of the example that the exporter looks at: no number comes twice."""
CHECKED = ((1, 3, 64, 97), (3, 3, 45, 48))
"""Sizes at which a written graph is compared with its network."""


class SegmentationGraph(nn.Module):
    """images -> labels (0 background, 1..C classes) and logits, both at the photos' own size.

    Labels are uint8, beyond 254 classes int16.
    """

    names = ("labels", "logits")

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = with_plain_padding(segmenter)

    def forward(
        self, images: UInt8[Tensor, "b 3 h w"]
    ) -> tuple[Integer[Tensor, "b h w"], Float[Tensor, "b c h w"]]:
        size = (images.shape[-2], images.shape[-1])
        logits = self.segmenter.full_size(self.segmenter(images).logits, size)
        return logits.argmax(dim=1).to(torch_type(logits.shape[1])), logits


class TagGraph(nn.Module):
    """images -> tags (probability of each class) and maps, one cell a stride, not normalised.

    The weights that the class graph gives are computed once and are constants here.
    """

    names = ("tags", "maps")

    def __init__(
        self, classifier: Classifier, *, scored: Scored, mapped: Mapped, competition: float
    ) -> None:
        super().__init__()
        self.classifier = with_plain_padding(classifier)
        self.competition = competition
        with torch.no_grad():
            self.register_buffer("scored", weights_of(classifier, scored))
            self.register_buffer("mapped", weights_of(classifier, mapped))
            # As `CamMaker` has it: maps of re-activated weights compete by the linear ones.
            rivals = weights_of(classifier, "linear" if mapped == "recam" else mapped)
            self.register_buffer("rivals", rivals)
            self.register_buffer("usual", classifier.usual(rivals)[:, None, None])

    scored: Tensor
    mapped: Tensor
    rivals: Tensor
    usual: Tensor

    def forward(
        self, images: UInt8[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c hs ws"]]:
        features = self.classifier.features(images)
        tags = torch.sigmoid(self.classifier.pool(features) @ self.scored.T)
        maps = torch.relu(functional.conv2d(features, self.mapped[:, :, None, None]))
        if self.competition > 0:
            logits = functional.conv2d(features, self.rivals[:, :, None, None])
            maps = maps * torch.softmax(logits - self.usual, dim=1) ** self.competition
        return tags, maps


def weights_of(classifier: Classifier, branch: Scored | Mapped) -> Float[Tensor, "c d"]:
    """The weights of `branch`; linear ones where there is no graph, as in `Logits.of`.

    Raises ValueError for branches with nodes, which are no weights over features.
    """
    nodes = classifier.nodes is not None
    if branch in ("nodes", "readout") or (nodes and branch == "fused"):
        raise ValueError(
            f"the branch {branch} of this classifier cannot be written as ONNX, it has nodes: "
            "train with --classify.nodes.graph none, or score tags and make maps by linear weights"
        )
    plain = branch in ("graph", "fused") and classifier.graph is None
    return classifier.class_weights("linear" if plain else branch).detach().clone()


def with_plain_padding(network: nn.Module) -> Any:
    """A copy on the CPU whose "same" convolutions pad by constants, with the same results.

    How much TensorFlow's "same" pads depends on the size of the map. Here every map is a multiple
    of the strides that follow, for the backbone pads the photo; the padding is then k - s for a
    kernel that spans k cells, at stride s. An exporter that keeps sizes open would carry the
    general formula through every layer.
    """
    plain = copy.deepcopy(network).cpu().eval()
    _replace(plain)
    return plain


def _replace(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, Conv2dSame):
            setattr(module, name, _padded(child))
        elif isinstance(child, ClassEmbedding):
            setattr(module, name, OpenEmbedding(child))
        else:
            _replace(child)


def _padded(conv: Conv2dSame) -> nn.Sequential:
    spans = [(k - 1) * d + 1 for k, d in zip(conv.kernel_size, conv.dilation, strict=True)]
    rows, columns = (max(n - s, 0) for n, s in zip(spans, conv.stride, strict=True))
    plain = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        0,
        conv.dilation,
        conv.groups,
        conv.bias is not None,
    )
    plain.load_state_dict(conv.state_dict())
    sides = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    return nn.Sequential(nn.ZeroPad2d(sides), plain)


class OpenEmbedding(nn.Module):
    """A `ClassEmbedding` whose means are matrix products.

    The exporter freezes the windows of an adaptive mean at the size of its example. All grids go
    through one product: every operation costs the exporter a part of a second.
    """

    def __init__(self, embedding: ClassEmbedding) -> None:
        super().__init__()
        self.project = embedding.project
        cells = [(place, side) for side in embedding.grids for place in range(side)]
        # Of the product, which crosses the rows of every grid with the columns of every other.
        pairs = [row * len(cells) + column for row, column in _of_one_grid(embedding.grids)]
        self.register_buffer("cells", torch.tensor(cells).T[:, :, None])
        self.register_buffer("pairs", torch.tensor(pairs))

    cells: Tensor
    pairs: Tensor

    def forward(self, masks: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k width"]:
        rows, columns = shares(masks.shape[2], self.cells), shares(masks.shape[3], self.cells)
        means = (rows @ masks @ columns.T).flatten(2)
        return self.project(means.index_select(2, self.pairs))


def _of_one_grid(grids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Row and column of each cell of each grid, counted through all grids."""
    start = 0
    for side in grids:
        places = range(start, start + side)
        yield from product(places, places)
        start += side


def shares(length: int, cells: Int64[Tensor, "2 n 1"]) -> Float[Tensor, "n length"]:
    """What each of `length` pixels gives to each adaptive mean along one axis.

    cells: (i, side) of each. Cell i is the mean of the pixels from floor(i length / side) to below
    ceil((i + 1) length / side), as in `adaptive_avg_pool2d`.
    """
    place, side = cells
    end = side * torch.arange(1, length + 1)
    inside = (end > place * length) & (end - side < (place + 1) * length)
    return inside / inside.sum(dim=1, keepdim=True)


def write_onnx(path: Path, graph: SegmentationGraph | TagGraph) -> float | None:
    """Write `graph` and compare it with its network; the largest difference, None if unchecked.

    It is checked where onnxruntime is installed. Raises ValueError where the exporter is not
    installed, cannot do this network, or made a graph with other results.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"--onnx needs {', '.join(missing)}: pip install -e '.[onnx]' in the checkout"
        )
    with replacing(path) as temporary:
        _export(graph.eval(), temporary)
    return None if find_spec("onnxruntime") is None else _difference(path, graph)


def _export(graph: SegmentationGraph | TagGraph, path: Path) -> None:
    import onnx

    free = torch.export.Dim.DYNAMIC
    level = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own libraries
        logging.disable(logging.WARNING)
        try:
            program = torch.onnx.export(
                graph,
                (torch.zeros(SEEN, dtype=torch.uint8),),
                dynamo=True,
                dynamic_shapes=({0: free, 2: free, 3: free},),
                input_names=["images"],
                output_names=list(graph.names),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as problem:
            reason = str(problem).strip().splitlines()[0]
            raise ValueError(
                f"this network cannot be written as ONNX ({reason}): export it without --onnx"
            ) from problem
        finally:
            logging.disable(level)
    assert program is not None
    model = program.model_proto
    _name_sizes(model)
    onnx.save(model, str(path))


def _name_sizes(model: Any) -> None:
    """Call the open sizes batch, height and width, instead of what the exporter made up."""
    sizes = {4: ("batch", None, "height", "width"), 3: ("batch", "height", "width"), 2: ("batch",)}
    cells = {"maps": ("batch", None, "rows", "columns")}
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        for dim, name in zip(dims, cells.get(value.name, sizes[len(dims)]), strict=False):
            if name is not None:
                dim.dim_param = name
    del model.graph.value_info[:]


def _difference(path: Path, graph: SegmentationGraph | TagGraph) -> float:
    """The largest difference of any number, over photos of noise of several sizes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng, worst = np.random.default_rng(0), 0.0
    for shape in CHECKED:
        images = rng.integers(0, 256, shape, dtype=np.uint8)
        with torch.inference_mode():
            wanted = graph(torch.from_numpy(images))
        found = session.run(list(graph.names), {"images": images})
        worst = max(worst, _worst(wanted, found, graph.names))
    if not worst < 1e-3:
        path.unlink()
        raise ValueError(f"the ONNX graph differs from its network by {worst:.3g}: not written")
    return worst


def _worst(wanted: Sequence[Tensor], found: Sequence[Any], names: Sequence[str]) -> float:
    """Of the numbers; labels may differ where two classes are as good as equal."""
    pairs = zip(names, wanted, found, strict=True)
    return max(
        float(np.abs(one.numpy() - other).max(initial=0.0)) if one.shape == other.shape else np.inf
        for name, one, other in pairs
        if name != "labels"
    )
