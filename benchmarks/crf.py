"""The dense CRF against pydensecrf, interleaved, on real photos.

    python -m benchmarks.crf --cams runs/voc-mini/cams      # prints the table, writes crf.json
    python -m benchmarks.crf --photos FOLDER --count 12 --out crf.json

    python -m benchmarks.crf --settings A B --labels 3      # a part of it

Each photo of each setting runs through pydensecrf and through this project one after the other,
several times, on one core; then batches through one and two threads of one process. What is
compared is the same: from energies of K labels, (K, height, width) float32, to probabilities.
Ratios of times in one run survive a busy machine; the times are for orientation. `equal` are labels
equal to pydensecrf's; lattice points are those of the appearance kernel.

Scores are the class activation maps of a run (--cams), stretched to the photo, with maps of the
next photos at half strength where a photo has fewer than K - 1 classes, over a background score of
0.3. Without --cams, or for photos that the run does not know, they are soft blobs. Without photos
(`../shared/data/voc-fullsize-100`, else --photos), scenes of the demo are drawn.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from jaxtyping import Float32

from benchmarks.crf_photos import LABELS, SHARED, Photo, Scores, energies, photos_of
from benchmarks.crf_table import HEADER, line
from stages.crf.compiled.engine import CompiledEngine
from stages.crf.lattice import Lattice
from stages.crf.parameters import CrfParameters
from stages.crf.threads import in_order

SETTINGS = {"A": (80.0, 13.0, 10.0), "B": (50.0, 5.0, 10.0), "C": (67.0, 4.0, 4.0)}
SETTINGS["67/3/4"] = (67.0, 3.0, 4.0)
"""Width in pixels, width in grey levels and weight of the appearance kernel; smoothness 3, 3."""
MAIN = 3
"""Labels at which all photos are compared, and the frozen mode and two threads measured."""


class Row(NamedTuple):
    """One photo through pydensecrf and through an engine of ours: seconds, and how they differ."""

    theirs: float
    ours: float
    frozen: float
    equal: int
    frozen_equal: int
    pixels: int
    largest: float
    points: int


def parameters_of(setting: str) -> CrfParameters:
    sxy, srgb, weight = SETTINGS[setting]
    return CrfParameters(bilateral_sxy=sxy, bilateral_srgb=srgb, bilateral_weight=weight)


def library(photo: Photo, unary: Scores, parameters: CrfParameters) -> Scores:
    """What a user of pydensecrf writes."""
    from pydensecrf import densecrf

    numbers, (labels, height, width) = parameters.numbers(), unary.shape
    crf = densecrf.DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(unary.reshape(labels, -1))
    crf.addPairwiseGaussian(sxy=numbers.gaussian_sxy, compat=numbers.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=numbers.bilateral_sxy,
        srgb=numbers.bilateral_srgb,
        rgbim=photo.image,
        compat=numbers.bilateral_weight,
    )
    return np.array(crf.inference(numbers.iterations)).reshape(unary.shape)


def ours(photo: Photo, unary: Scores, parameters: CrfParameters) -> Scores:
    """The same with this project."""
    return Lattice(photo.image, parameters).refine_energies(unary)


def timed(function: Callable[[], Scores]) -> tuple[float, Scores]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def measure(photo: Photo, labels: int, setting: str, *, repeats: int) -> Row:
    """Medians of `repeats` interleaved times, and the agreement."""
    unary, exact = energies(photo, labels), parameters_of(setting)
    frozen = exact.model_copy(update={"mode": "frozen"})
    ours(
        photo, unary, exact
    )  # makes the smoothness lattice of this size, as a data set has it made
    times: list[list[float]] = []
    for _ in range(repeats):
        theirs, expected = timed(lambda: library(photo, unary, exact))
        own, found = timed(lambda: ours(photo, unary, exact))
        quick, skipped = (
            timed(lambda: ours(photo, unary, frozen)) if labels == MAIN else (own, found)
        )
        times.append([theirs, own, quick])
    answer = expected.argmax(axis=0)
    engine = Lattice(photo.image, exact)._engine
    assert isinstance(engine, CompiledEngine)
    return Row(
        theirs=float(np.median([one[0] for one in times])),
        ours=float(np.median([one[1] for one in times])),
        frozen=float(np.median([one[2] for one in times])),
        equal=int((found.argmax(axis=0) == answer).sum()),
        frozen_equal=int((skipped.argmax(axis=0) == answer).sum()),
        pixels=answer.size,
        largest=float(np.abs(found - expected).max()),
        points=engine.points,
    )


def threads(photos: Sequence[Photo], setting: str, *, repeats: int) -> dict[str, float]:
    """Photos a second through one and two threads of this process, against pydensecrf's one."""
    exact = parameters_of(setting)
    times: dict[int, list[float]] = {1: [], 2: []}
    frozen = exact.model_copy(update={"mode": "frozen"})
    work = [(photo, energies(photo, MAIN)) for photo in photos] * 2
    quick = []
    for _ in range(repeats):
        for workers, found in times.items():
            found.append(_drained(partial(_one, exact), work, workers))
        quick.append(_drained(partial(_one, frozen), work, 2))
    one, two = np.median(times[1]), np.median(times[2])
    start = time.perf_counter()
    for photo, unary in work:
        library(photo, unary, exact)
    theirs = time.perf_counter() - start
    return {
        "two_threads_over_one": float(one / two),
        "two_threads_over_pydensecrf": float(theirs / two),
        "two_threads_frozen_over_pydensecrf": float(theirs / np.median(quick)),
    }


def together(photos: Sequence[Photo], setting: str, *, repeats: int) -> dict[str, float]:
    """Three labellings of a photo on one lattice, as pseudo-labels are made, against one by one."""
    ratios, exact = [], parameters_of(setting)
    for photo in photos:
        first = energies(photo, MAIN)
        three = np.stack([first, first * np.float32(1.5), first * np.float32(0.7)])
        lattice = Lattice(photo.image, exact)
        lattice.refine_energies(three)
        for _ in range(repeats):
            apart, _ = timed(partial(_apart, lattice, three))
            at_once, _ = timed(partial(lattice.refine_energies, three))
            ratios.append(apart / at_once)
    return {"three_labellings_over_one_by_one": float(np.median(ratios))}


def _apart(lattice: Lattice, groups: Float32[np.ndarray, "g k h w"]) -> Scores:
    return np.concatenate([lattice.refine_energies(each) for each in groups])


def _one(parameters: CrfParameters, work: tuple[Photo, Scores]) -> Scores:
    photo, unary = work
    return ours(photo, unary, parameters)


def _drained(function: Callable[[Any], Scores], work: Sequence[Any], workers: int) -> float:
    start = time.perf_counter()
    for _ in in_order(function, work, workers=workers):
        pass
    return time.perf_counter() - start


def summary(rows: Sequence[Row]) -> dict[str, float | int]:
    """Medians over photos; agreement over all pixels and photos."""
    table = np.array(rows, np.float64)
    theirs, own, quick, equal, frozen_equal, pixels, largest, points = table.T
    return {
        "photos": len(rows),
        "pydensecrf_ms": float(np.median(theirs) * 1e3),
        "ratio": float(np.median(theirs / own)),
        "ratio_least": float((theirs / own).min()),
        "ratio_most": float((theirs / own).max()),
        "labels_equal": float(equal.sum() / pixels.sum()),
        "photos_all_equal": float((equal == pixels).mean()),
        "largest_difference": float(largest.max()),
        "frozen_ratio": float(np.median(theirs / quick)),
        "frozen_labels_equal": float(frozen_equal.sum() / pixels.sum()),
        "lattice_points": int(np.median(points)),
    }


def peak(task: tuple[str, Photo, str]) -> float:
    """Memory in MB that one inference adds to a process which has made a small one before."""
    name, photo, setting = task
    function = {"pydensecrf": library, "tagmask": ours}[name]
    small = Photo(photo.image[:8, :8].copy(), photo.maps[:, :8, :8].copy())
    function(small, energies(small, MAIN), parameters_of(setting))
    unary, held = energies(photo, MAIN), int(Path("/proc/self/statm").read_text().split()[1])
    held_mb = held * resource.getpagesize() / 2**20
    ballast = np.ones(max(0, int((_memory() - held_mb) * 2**20)), np.uint8)  # up to the peak so far
    before = _memory()
    function(photo, unary, parameters_of(setting))
    return _memory() - before + 0 * len(ballast)


def _memory() -> float:
    """Greatest memory of this process so far, in MB (Linux counts KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peaks(photo: Photo, setting: str) -> dict[str, float]:
    """Each in a process of its own."""
    found, photo = {}, Photo(photo.image, photo.maps[: MAIN - 1])
    for name in ("pydensecrf", "tagmask"):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[f"{name}_mb"] = pool.apply(peak, [(name, photo, setting)])
    return found


def measured(
    photos: Sequence[Photo], settings: Sequence[str], counts: Sequence[int], *, repeats: int
) -> dict[str, dict[str, Any]]:
    """All figures by setting and number of labels, printed as they come."""
    found: dict[str, dict[str, Any]] = {}
    few = photos[:: max(1, len(photos) // 6)]
    for setting in settings:
        for labels in counts:
            # Many labels take long, and what differs between photos shows at K = 3.
            chosen = photos if labels == MAIN else few
            turns = repeats if labels == MAIN else 1
            rows = [measure(photo, labels, setting, repeats=turns) for photo in chosen]
            figures: dict[str, Any] = summary(rows)
            if labels == MAIN:
                figures |= threads(few, setting, repeats=repeats) | peaks(photos[0], setting)
                figures |= together(few, setting, repeats=repeats)
            found[f"{setting} K={labels}"] = figures
            print(line(f"{setting} K={labels}", figures), flush=True)
    return found


def _named(folder: Path | None) -> str:
    """The data set that a folder of photos belongs to."""
    if folder is None:
        return "scenes of the demo, 500 x 375"
    return folder.resolve().parts[-3] if folder == SHARED else folder.name


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, help="folder of JPEG or PNG photos")
    parser.add_argument("--cams", type=Path, help="artifact `cams` of a run")
    parser.add_argument("--count", type=int, default=20, help="photos at K = 3")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=[*SETTINGS])
    parser.add_argument("--labels", nargs="+", type=int, choices=LABELS, default=[*LABELS])
    parser.add_argument("--repeats", type=int, default=3, help="interleaved runs of each photo")
    parser.add_argument("--out", type=Path, default=Path("crf.json"))
    given = parser.parse_args(argv)
    if importlib.util.find_spec("pydensecrf") is None:
        raise SystemExit("pydensecrf is needed to compare with: pip install -e '.[pydensecrf]'")
    folder = given.photos or (SHARED if SHARED.is_dir() else None)
    photos = photos_of(folder, given.cams, given.count)
    about = {
        "photos": _named(folder),
        "scores": "maps of a run" if given.cams else "soft blobs",
        "repeats": given.repeats,
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "numba": numba.__version__,
    }
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(HEADER, flush=True)
    figures = measured(photos, given.settings, given.labels, repeats=given.repeats)
    given.out.write_text(json.dumps({"about": about, "figures": figures}, indent=1) + "\n")
    print(f"written: {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
