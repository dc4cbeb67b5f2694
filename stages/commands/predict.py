"""Label your own photos with a finished run or an exported model.

python run_pipeline.py predict holiday/ --run runs/voc-cpu
python run_pipeline.py predict photo.jpg "more/**/*.jpg" --model my-model --out labelled
python run_pipeline.py predict holiday/ --run runs/mine --from-tags

Each photo gets a class mask (palette PNG), an overlay picture and a JSON file with the area and
the score of each class. Photos that were done before are skipped; bad ones are listed in
problems.jsonl and the others are done all the same.

Photos are seen at their own size. More than 2 megapixels are seen in overlapping tiles; --longest
shrinks photos first instead, which is better where they are much larger than those trained on.
"""

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from data.loader import ahead
from data.own import OwnPhoto, gather, in_batches
from data.records import Problem
from knowledge.classes import BACKGROUND
from stages.commands.parser import at_least_one, command_parser, cores
from stages.commands.progress import Bar
from stages.model import Model
from stages.nets.device import PRECISIONS
from stages.nets.pooled import pixels_at_once
from stages.nets.streams import in_streams
from stages.predictions import Finding, Outputs

Pixels = UInt8[np.ndarray, "b h w 3"]
MUCH_LARGER = 2.5
"""Times the longest side of the training photos, from which on a note recommends --longest."""


def main(argv: list[str]) -> int:
    """Predict; returns 0, or 1 where no photo could be used.

    Raises ValueError or FileNotFoundError for a model, photos or folder that cannot be used.
    """
    asked = _parser().parse_args(argv)
    odd: list[Problem] = []
    photos = gather(asked.photos, without=asked.out, report=odd.append)
    model = Model.load(asked.run or asked.model, device=asked.device, precision=asked.precision)
    outputs = Outputs(asked.out, model.classes, overlays=not asked.no_overlays)
    look = LOOKS[asked.from_tags](asked, model)
    outputs.begin(_settings(asked, model))
    todo = [photo for photo in photos if not outputs.done(photo)]
    problems = {one.path: one.reason for one in odd if not one.used}
    with Bar() as bar:
        seconds, made = label_photos(look, todo, outputs, asked=asked, problems=problems, bar=bar)
    outputs.problems({"photo": name, "reason": why} for name, why in sorted(problems.items()))
    _say(asked, made=made, before=len(photos) - len(todo), bad=len(problems), seconds=seconds)
    return 1 if not made and len(todo) == len(photos) else 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("predict", __doc__)
    add = parser.add_argument
    add(
        "photos", nargs="+", metavar="PHOTOS", help="files, folders (searched to the bottom), globs"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, metavar="RUN", help="a run: runs/NAME")
    source.add_argument("--model", type=Path, metavar="FOLDER", help="a folder made by `export`")
    out = Path("predictions")
    add("--out", type=Path, default=out, metavar="DIR", help="where to (default: predictions)")
    add("--longest", type=_side, metavar="PIXELS", help="shrink photos to this longest side first")
    add("--from-tags", action="store_true", help="stage one: activation maps of predicted tags")
    add("--tag", type=_share, metavar="P", help="least probability of a tag (default: 0.5)")
    cut = "background score of the maps, 0..1 (default: the run's own)"
    add("--background", type=_share, metavar="SCORE", help=cut)
    add("--no-overlays", action="store_true", help="masks and JSON only")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    add("--precision", default="auto", choices=list(PRECISIONS))
    number: dict[str, Any] = {"type": at_least_one, "default": cores(), "metavar": "N"}
    add("--workers", **number, help="threads (default: all cores)")
    return parser


def _side(text: str) -> int:
    if not text.isdigit() or int(text) < 32:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of pixels from 32 on")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


def _by_network(
    asked: argparse.Namespace, model: Model, given: tuple[list[OwnPhoto], Pixels]
) -> list[Finding]:
    """Labels of the segmentation network; the score is the mean probability where a class won."""
    group, pixels = given
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    seen = model.look(images, longest=asked.longest)
    labels, scores = seen.labels.cpu().numpy(), seen.scores.cpu().numpy()
    names = (BACKGROUND, *model.classes.names)
    rows = zip(group, pixels, labels, scores, strict=True)
    return [
        Finding(photo, image, label, dict(zip(names, map(float, row), strict=True)), None)
        for photo, image, label, row in rows
    ]


def _by_tags(
    asked: argparse.Namespace, model: Model, given: tuple[list[OwnPhoto], Pixels]
) -> list[Finding]:
    """Activation maps of predicted tags; the score is the probability of the tag."""
    del asked
    group, pixels = given
    seen = model.tag_masks(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    names = model.classes.names
    found = []
    for photo, image, label, tags, taken in zip(group, pixels, *seen, strict=True):
        said = {name: float(tag) for name, tag, one in zip(names, tags, taken, strict=True) if one}
        found.append(Finding(photo, image, label, said, said))
    return found


def _network(asked: argparse.Namespace, model: Model) -> Any:
    if model.segmenter is None:
        raise ValueError(
            f"{asked.run or asked.model} has no segmentation network (stage segment): label by "
            "predicted tags with --from-tags, or run the pipeline to the stage segment"
        )
    if asked.tag is not None or asked.background is not None:
        raise ValueError("--tag and --background belong to --from-tags: the network needs neither")
    return partial(_by_network, asked, model)


def _tags(asked: argparse.Namespace, model: Model) -> Any:
    if model.classifier is None:
        raise ValueError(f"{asked.run or asked.model} has no classifier (stage classify)")
    if asked.longest is not None:
        raise ValueError("--longest belongs to the network: --from-tags looks at several scales")
    wanted = {"tag": asked.tag, "background": asked.background}
    return partial(_by_tags, asked, model.with_settings(**wanted))


LOOKS = {False: _network, True: _tags}
"""--from-tags -> what labels a batch of photos."""


def _settings(asked: argparse.Namespace, model: Model) -> dict[str, Any]:
    """What must be the same for two calls to fill one folder."""
    part = "classify" if asked.from_tags else "segment"
    changed = {"tag": asked.tag, "background": asked.background}
    settings = model.with_settings(**changed).settings._asdict() if asked.from_tags else None
    return {
        "model": model.fingerprints[part],
        "classes": list(model.classes.names),
        "made by": "tags" if asked.from_tags else "network",
        "longest": asked.longest,
        "settings of tags": settings,
    }


def label_photos(
    look: Any,
    todo: Sequence[OwnPhoto],
    outputs: Outputs,
    *,
    asked: argparse.Namespace,
    problems: dict[str, str],
    bar: Bar,
) -> tuple[float, int]:
    """Label and write all photos of `todo`; (seconds, photos made). Bad ones go to `problems`."""

    def report(photo: OwnPhoto, why: str) -> None:
        problems[str(photo.path)] = why
        bar.note(f"skipped: {why}")

    device = look.args[1].device
    begun, made = time.monotonic(), 0
    pixels = pixels_at_once(device, len(look.args[1].classes.names) + 1)
    read = in_batches(todo, pixels=pixels, workers=asked.workers, report=report)
    looked = in_streams(look, read, device=device, streams=asked.workers)
    sides: list[int] = []
    findings = (_measured(finding, sides) for batch in looked for finding in batch)
    # Three steps overlap: photos are decoded and results written while the network works.
    for _ in ahead(outputs.write, findings, threads=asked.workers, depth=2 * asked.workers):
        made += 1
        bar.progress(made + len(problems), len(todo), "photos")
    if not asked.from_tags:
        _advise(look.args[1], sides, asked.longest, bar)
    return time.monotonic() - begun, made


def _advise(model: Model, sides: Sequence[int], longest: int | None, bar: Bar) -> None:
    """Recommend --longest where the photos are much larger than those of the training."""
    trained = model.description.get("longest")
    if longest is None and trained and sides and median(sides) > MUCH_LARGER * trained:
        bar.note(
            f"note: photos of {median(sides):.0f} pixels, learnt from photos of {trained}: "
            f"--longest {trained} may well label them better, and is faster"
        )


def _measured(finding: Finding, sides: list[int]) -> Finding:
    sides.append(max(finding.label.shape))
    return finding


def _say(asked: argparse.Namespace, *, made: int, before: int, bad: int, seconds: float) -> None:
    rate = made / seconds if seconds > 0 else 0.0
    told = f", {rate:.{1 if rate >= 1 else 3}f} a second" if made else ""
    print(f"{made} photos labelled in {seconds:.1f} s{told}")
    if before:
        print(f"{before} were done before")
    if bad:
        print(f"{bad} cannot be used: {asked.out / 'problems.jsonl'}")
    print(f"{asked.out}: masks, overlays, found (areas and scores as JSON), legend.png")
