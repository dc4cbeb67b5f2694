"""Build what a data set lacks: downloads, masks from annotations, the archive for VOC's server.

python run_pipeline.py build voc data --download         VOC 2012 below data/, 2 GB; SBD with --sbd
python run_pipeline.py build sbd benchmark_RELEASE VOCdevkit/VOC2012
python run_pipeline.py build coco-masks coco masks --overlap later --crowd ignore
python run_pipeline.py build voc-submission predictions results.tgz --voc VOCdevkit/VOC2012
python run_pipeline.py build check-submission results.tgz --voc VOCdevkit/VOC2012

Masks are for scoring and for the declared upper bound. `--recipe coco` draws its own: build them
only for other tools. A build of masks that was killed goes on when it is started again. Nothing is
downloaded without --download, and nothing is overwritten.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from data import built, coco, coco_masks, download, sbd, submission
from data.coco_json import read_boxes, read_categories
from data.coco_layout import instances_file, instances_files, number
from data.files import digest
from data.masks import write_policy
from data.records import Mask, Photo, every_id, ignore, list_ids
from pipeline.context import Context
from pipeline.parallel import map_unordered
from stages.commands.parser import at_least_one, command_parser, cores
from stages.commands.progress import Bar
from stages.drawn_masks import draw_masks


def main(argv: list[str]) -> int:
    """Run one of the builders; returns 0, or 1 where a submission has faults.

    Raises ValueError or FileNotFoundError naming the file or folder and the way out.
    """
    asked = _parser().parse_args(argv)
    with Bar() as bar:
        return BUILDERS[asked.what](asked, bar)


def _voc(asked: argparse.Namespace, bar: Bar) -> int:
    root: Path = asked.root
    print(download.fetch_voc(root, download=asked.download, say=bar.note))
    if asked.sbd:
        print(download.fetch_sbd(root, download=asked.download, say=bar.note))
    return 0


def _sbd(asked: argparse.Namespace, bar: Bar) -> int:
    annotations, voc = sbd.find_sbd(asked.sbd), asked.voc
    ids = sbd.train_aug(annotations, voc)
    found = sbd.sources(annotations, voc)
    lacking = sorted(set(ids) - {one.id for one in found})
    if lacking:
        raise ValueError(
            f"{len(lacking)} photos of train_aug have no mask in SBD or VOC ({lacking[0]}): "
            "unpack both again"
        )
    sbd.check_list(voc, ids)
    folder = built.begin(asked.out or voc / sbd.AUGMENTED, sbd.made_from(found))
    outcomes = map_unordered(
        partial(sbd.write_mask, folder), found, workers=asked.workers, name=lambda one: one.id
    )
    written = sum(1 for _ in bar.track(outcomes, total=len(found), unit="masks"))
    own = sum(one.from_voc for one in found)
    print(f"{written} masks in {folder}: {own} of VOC, {written - own} of SBD")
    print(f"{sbd.write_list(voc, ids)}: {len(ids)} photos")
    if len(ids) != sbd.TRAIN_AUG:
        bar.note(f"note: the field's train_aug has {sbd.TRAIN_AUG:,} photos: lists are incomplete")
    if asked.compare:
        _compare(folder, asked.compare, [one.id for one in found], bar)
    return 0


def _compare(folder: Path, archive: Path, ids: Sequence[str], bar: Bar) -> None:
    """Say how far the masks are those of an archive that the user has."""
    compare = partial(sbd.difference, folder, archive)
    found = list(bar.track(map(compare, ids), total=len(ids), unit="compared"))
    here = [one for one in found if not one.missing]
    differ = [one for one in here if one.labels or one.ignored]
    print(f"{archive}: {len(found) - len(here)} masks missing there or of another size")
    print(f"{len(differ)} of {len(here)} masks differ", end="")
    labels = sum(one.labels for one in here) / max(1, len(here))
    ignored = sum(one.ignored for one in here) / max(1, len(here))
    print(f"; of an average mask {labels:.2%} of the pixels in label, {ignored:.2%} in ignore")


def _coco_masks(asked: argparse.Namespace, bar: Bar) -> int:
    splits = {name: instances_file(asked.root, name) for name in asked.split or ()}
    paths = list((splits or instances_files(asked.root)).values())
    if not paths or None in paths:
        have = ", ".join(instances_files(asked.root)) or "none"
        raise FileNotFoundError(f"{asked.root}: no such instances file; there are {have}")
    files = [path for path in paths if path is not None]
    classes = coco.table_of(read_categories(files[0]), files[0])
    photos = [photo for path in files for photo in _listed(path)]
    outlines = coco_masks.find_outlines(files, {number(one.id) for one in photos}, classes)
    policy = coco_masks.Policy(asked.overlap, asked.crowd)
    digests = {path.name: digest(path) for path in files}
    folder = built.begin(asked.out, {**policy._asdict(), "files": digests})
    items = [(photo, outlines[number(photo.id)]) for photo in photos]
    context = Context(workers=asked.workers, listener=bar)
    undrawn = draw_masks(folder, policy, classes, items=items, context=context)
    for problem in undrawn:
        bar.note(f"{problem.id}: {problem.reason}")
    left_out = {problem.id for problem in undrawn}
    masks = [_mask(folder, one) for one in photos if one.id not in left_out]
    made = {"source": "instances", **policy._asdict(), "files": [path.name for path in files]}
    write_policy(folder, masks, made)
    said = json.loads((folder / "policy.json").read_text(encoding="utf-8"))
    print(f"{len(masks)} masks in {folder}, {len(undrawn)} left out; sha256 {said['sha256']}")
    return 0


def _listed(path: Path) -> list[Photo]:
    """The photos of an instances file, sorted by id, as far as drawing needs them."""
    shots = read_boxes(path).shots.values()
    ids = ((list_ids([shot.name], path.name, ignore), shot) for shot in shots)
    found = [Photo(one[0], shot.name, shot.size, (), "train", "") for one, shot in ids if one]
    return sorted(found, key=lambda photo: photo.id)


def _mask(folder: Path, photo: Photo) -> Mask:
    name = f"{photo.id}.png"
    return Mask(photo.id, name, photo.split, photo.size, digest(folder / name), ())


def _submission(asked: argparse.Namespace, bar: Bar) -> int:
    if asked.archive.exists():
        raise ValueError(f"{asked.archive} is there already: give another name, or remove it first")
    sizes = _sizes(asked, bar)
    submission.pack(asked.predictions, asked.archive, sizes=sizes, competition=asked.competition)
    return _check(asked, bar)


def _check(asked: argparse.Namespace, bar: Bar) -> int:
    sizes = _sizes(asked, bar)
    found = submission.faults(asked.archive, sizes=sizes, competition=asked.competition)
    for fault in found:
        print(fault)
    if not found:
        print(f"{asked.archive}: {len(sizes)} photos, as the server asks for")
    return 1 if found else 0


def _sizes(asked: argparse.Namespace, bar: Bar) -> dict[str, tuple[int, int]]:
    path = asked.list or asked.voc / sbd.LISTS / "test.txt"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give --list, the list of VOC's test photos")
    ids = every_id(path)
    photos = submission.sizes(asked.voc / "JPEGImages", ids)
    return dict(bar.track(photos, total=len(ids), unit="photos"))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("build", __doc__)
    kinds = parser.add_subparsers(dest="what", required=True, metavar="WHAT")

    def kind(name: str, text: str) -> argparse.ArgumentParser:
        own = kinds.add_parser(name, help=text, description=text, allow_abbrev=False)
        own.add_argument("--debug", action="store_true", help="show tracebacks")
        own.add_argument("--workers", type=at_least_one, default=cores(), help="processes (all)")
        return own

    voc = kind("voc", "PASCAL VOC 2012, fetched by torchvision with its checksum")
    voc.add_argument("root", type=Path, help="folder that VOCdevkit/ comes into")
    voc.add_argument("--download", action="store_true", help="fetch what is not there")
    voc.add_argument("--sbd", action="store_true", help="SBD too, 1.4 GB")
    augmented = kind("sbd", "SegmentationClassAug and train_aug.txt from SBD's .mat files")
    augmented.add_argument("sbd", type=Path, help="unpacked benchmark_RELEASE")
    augmented.add_argument("voc", type=Path, help="VOCdevkit/VOC2012")
    augmented.add_argument("--out", type=Path, help="folder of the masks")
    augmented.add_argument("--compare", type=Path, help="archive of masks to compare with")
    masks = kind("coco-masks", "masks of COCO, or of data in its format, as palette PNGs")
    masks.add_argument("root", type=Path, help="folder with annotations/instances_*.json")
    masks.add_argument("out", type=Path, help="folder of the masks")
    masks.add_argument("--split", action="append", help="train2014, ...; may be repeated")
    overlap, crowd = get_args(coco_masks.Overlap), get_args(coco_masks.Crowd)
    masks.add_argument("--overlap", choices=overlap, default=overlap[0], help="what is on top")
    masks.add_argument("--crowd", choices=crowd, default=crowd[0], help="what crowds become")
    pack = kind("voc-submission", "pack predictions of VOC's test photos for the server")
    pack.add_argument("predictions", type=Path, help="folder of <id>.png")
    check = kind("check-submission", "check such an archive or folder tree")
    for one in (pack, check):
        one.add_argument("archive", type=Path, help=f"{', '.join(submission.SUFFIXES)}")
        one.add_argument("--voc", type=Path, required=True, help="VOC2012 with the test photos")
        one.add_argument("--list", type=Path, help="default: ImageSets/Segmentation/test.txt")
        kinds_of = get_args(submission.Competition)
        one.add_argument("--competition", choices=kinds_of, default="comp6", help="comp5: VOC only")
    return parser


BUILDERS: dict[str, Callable[[argparse.Namespace, Bar], int]] = {
    "voc": _voc,
    "sbd": _sbd,
    "coco-masks": _coco_masks,
    "voc-submission": _submission,
    "check-submission": _check,
}
