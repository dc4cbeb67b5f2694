"""Export a finished run as a model: a folder of its own, to use, to copy and to hand on.

python run_pipeline.py export runs/voc-cpu
python run_pipeline.py export runs/mine --to my-model --onnx

The folder holds the segmentation network and the classifier (safetensors and JSON), classes with
their colours, preprocessing, the card of the run and MODEL_CARD.md; --onnx adds both networks as
ONNX. `predict --model FOLDER` uses it, and so do three lines of Python: see `stages.model`.
"""

import argparse
import sys
from pathlib import Path

from stages.commands.parser import command_parser
from stages.model_folder import export


def main(argv: list[str]) -> int:
    """Export; returns 0. Raises FileNotFoundError or ValueError with the way out."""
    asked = _parser().parse_args(argv)
    to = asked.to or Path("models") / asked.run.resolve().name
    export(asked.run, to, onnx=asked.onnx, note=lambda text: print(text, file=sys.stderr))
    size = sum(path.stat().st_size for path in to.rglob("*") if path.is_file())
    print(f"{to}: {size / 1e6:.1f} MB, described in {to / 'MODEL_CARD.md'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("export", __doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run: runs/NAME")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="default: models/NAME")
    onnx = "write segment.onnx and classify.onnx too (needs the extra `onnx`)"
    parser.add_argument("--onnx", action="store_true", help=onnx)
    return parser
