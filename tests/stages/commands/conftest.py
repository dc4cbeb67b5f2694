"""A run folder with small real networks, and a folder of photos of many kinds."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from knowledge.graph import ClassGraph
from stages.nets.backbone import Backbone
from stages.nets.classifier import Classifier, save_classifier
from stages.nets.segmenter import build_segmenter, save_segmenter
from stages.nets.settings import GrmConfig, HeadConfig
from tests.datasets import pixels, write_photo

SMALL = HeadConfig(width=16, step_width=8, dilations=(1,), grm=GrmConfig(width=12))


@pytest.fixture
def run_folder(tiny_run, tmp_path: Path) -> Path:
    """runs/tiny: the artifacts of `tiny_run`, with untrained networks in classify and segment."""
    home = tmp_path / "runs" / "tiny"
    home.mkdir(parents=True)
    graph = ClassGraph.load(tiny_run.inputs["graph"])
    for name, path in tiny_run.inputs.items():
        (home / name).symlink_to(path)
    torch.manual_seed(0)
    backbone = Backbone("test_resnet", output_stride=16)
    network = build_segmenter(backbone, "grm", SMALL, classes=4, graph=graph)
    torch.nn.init.ones_(network.head.grm.gamma)
    save_segmenter(
        home / "segment", network, head="grm", config=SMALL, graph=graph, card={"labels": "x"}
    )
    wide = Backbone("test_resnet", output_stride=16)
    save_classifier(
        Classifier(wide, graph.names, graph, hidden=8), home / "classify", extra={"seed": 0}
    )
    return home


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six good photos, one of them turned by its EXIF data, and two bad ones."""
    home = tmp_path / "photos"
    for seed, size in enumerate([(40, 56), (40, 56), (56, 40), (33, 47)]):
        write_photo(home / f"{seed}.jpg", seed, size)
    write_photo(home / "inner" / "deep" / "4.png", 4, (40, 56))
    turned = Image.fromarray(pixels(5, (40, 56)))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(home / "turned.jpg", exif=exif)
    (home / "broken.jpg").write_bytes((home / "0.jpg").read_bytes()[:200])
    (home / "empty.png").touch()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(home / ".hidden.png")
    return home
