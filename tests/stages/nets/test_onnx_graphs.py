"""Heads as ONNX: the numbers of their networks at sizes that the exporter never saw.

The exporter runs in a program of its own: its open sizes are no `int` to this suite's type checks.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from knowledge.graph import ClassGraph
from stages.nets.backbone import Backbone
from stages.nets.class_embedding import ClassEmbedding
from stages.nets.onnx_graphs import OpenEmbedding
from stages.nets.segmenter import Segmenter, build_segmenter, load_segmenter, save_segmenter
from stages.nets.settings import HeadConfig

ROOT = Path(__file__).resolve().parents[3]
HEADS = ("none", "ece")
"""Of the others, `grm` is written in the tests of `export`."""
NAMES = ("cat", "dog", "sofa")
SMALL = HeadConfig(width=16, step_width=8, dilations=(1,))
EXPORT = """
import json, sys
from pathlib import Path
from stages.nets.onnx_graphs import SegmentationGraph, write_onnx
from stages.nets.segmenter import load_segmenter
home = Path(sys.argv[1])
print(json.dumps({
    name: write_onnx(home / f"{name}.onnx", SegmentationGraph(load_segmenter(home / name)))
    for name in sys.argv[2:]
}))
"""
needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxruntime", "onnxscript")),
    reason="the extra `onnx` is not installed",
)


def network(head: str, graph: ClassGraph) -> Segmenter:
    """A small network that is no constant: no weight and no gain of it is zero."""
    torch.manual_seed(0)
    backbone = Backbone("test_resnet", output_stride=16)
    built = build_segmenter(backbone, head, SMALL, classes=len(NAMES) + 1, graph=graph)
    with torch.no_grad():
        for weight in built.head.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return built


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """A folder with a network and its graph a head, and what the exporter says they differ by."""
    home = tmp_path_factory.mktemp("onnx")
    vectors = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    graph = ClassGraph(NAMES, vectors, np.eye(3, dtype=np.float32), {})
    for head in HEADS:
        save_segmenter(
            home / head, network(head, graph), head=head, config=SMALL, graph=graph, card={}
        )
    command = [sys.executable, "-c", EXPORT, str(home), *HEADS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return home, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("size", [(1, 1), (4, 7), (13, 9), (33, 21)])
@pytest.mark.parametrize("classes", [3, 21, 150])
def test_means_as_products_are_adaptive_means(classes: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    embedding = ClassEmbedding(classes, 16)
    masks = torch.randn(2, classes, *size)
    assert torch.allclose(OpenEmbedding(embedding)(masks), embedding(masks), atol=1e-5)


@needs_onnx
@pytest.mark.parametrize("head", HEADS)
def test_a_graph_gives_what_its_network_gives(exported, head: str) -> None:
    import onnxruntime

    home, differences = exported
    assert differences[head] < 1e-4
    session = onnxruntime.InferenceSession(str(home / f"{head}.onnx"))
    segmenter = load_segmenter(home / head)
    for shape in ((1, 3, 32, 32), (3, 3, 45, 61), (2, 3, 130, 50)):
        images = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
        labels, logits = session.run(["labels", "logits"], {"images": images})
        assert labels.shape == (shape[0], *shape[2:])
        wanted = in_full(segmenter, torch.from_numpy(images))
        assert np.abs(logits - wanted.numpy()).max() < 1e-4
        assert (labels == segmenter.predict(torch.from_numpy(images)).numpy()).mean() > 0.999
        assert wanted.std() > 0.01  # no constant is compared


def in_full(segmenter: Segmenter, images: torch.Tensor) -> torch.Tensor:
    """Logits at every pixel."""
    with torch.inference_mode():
        logits = segmenter(images).logits
        return segmenter.full_size(logits, (images.shape[-2], images.shape[-1]))
