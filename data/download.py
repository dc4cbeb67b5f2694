"""PASCAL VOC 2012 and SBD, fetched by torchvision, which checks their MD5 sums."""

from collections.abc import Callable
from pathlib import Path

from torchvision.datasets import SBDataset, VOCSegmentation

Say = Callable[[str], None]
SPLITS = {"train": 1_464, "val": 1_449}
"""Photos of VOC's segmentation lists."""


def fetch_voc(root: Path, *, download: bool, say: Say) -> str:
    """Fetch VOC 2012 (trainval, 2 GB) into `root/VOCdevkit/VOC2012`, unless it is there.

    Returns one line on what there is. Raises `FileNotFoundError` where it is not there and
    `download` is off, `ValueError` where it cannot be fetched or lacks photos of its lists.
    """
    home = root / "VOCdevkit" / "VOC2012"
    if not (home / "JPEGImages").is_dir():
        _allow(download, home, "the PASCAL VOC 2012 trainval archive, 2 GB, from its web site")
        say(f"fetching VOC 2012 into {root}: 2 GB, and 4 GB of disk while unpacking")
        _fetched(lambda: VOCSegmentation(root, year="2012", download=True), "VOC 2012", root)
    counts = {}
    for split, expected in SPLITS.items():
        path = home / "ImageSets" / "Segmentation" / f"{split}.txt"
        ids = path.read_text(encoding="utf-8").split() if path.is_file() else []
        missing = [one for one in ids if not (home / "JPEGImages" / f"{one}.jpg").is_file()]
        if missing or not ids:
            what = f"{len(missing)} photos of {path.name}" if ids else str(path)
            raise ValueError(f"{home} lacks {what}: remove it and fetch it again")
        counts[split] = len(ids)
        if len(ids) != expected:
            say(f"note: {path.name} names {len(ids)} photos, VOC 2012's has {expected:,}")
    return f"{home}: train {counts['train']:,}, val {counts['val']:,}"


def fetch_sbd(root: Path, *, download: bool, say: Say) -> str:
    """Fetch SBD (1.4 GB) into `root/sbd`, unless it is there; returns one line on what there is."""
    home = root / "sbd"
    if not (home / "cls").is_dir():
        _allow(download, home, "the SBD archive, 1.4 GB, from its web site")
        say(f"fetching SBD into {home}: 1.4 GB, and 3 GB of disk while unpacking")
        _fetched(lambda: SBDataset(str(home), download=True), "SBD", home)
    masks = sum(1 for _ in (home / "cls").glob("*.mat"))
    return f"{home}: {masks:,} masks; next: build sbd {home} {root / 'VOCdevkit' / 'VOC2012'}"


def _allow(download: bool, home: Path, what: str) -> None:
    if not download:
        raise FileNotFoundError(
            f"{home} is not there: add --download to fetch {what} (its terms of use apply), or "
            "unpack an archive of your own there"
        )


def _fetched(fetch: Callable[[], object], name: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        fetch()
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"{name} could not be fetched ({error}): check the network and start again, or unpack "
            f"the archive into {folder} yourself"
        ) from error
