"""What is packed for VOC's server passes the check; what the server would refuse does not."""

import io
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import submission
from knowledge.classes import VOC, ClassTable
from tests.datasets import write_mask, write_photo

TREE = "results/VOC2012/Segmentation/comp6_test_cls"
SIZES = {"2008_000006": (24, 32), "2008_000011": (20, 30)}


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """One palette PNG and one grey one, both right."""
    folder = tmp_path / "predictions"
    label = np.zeros((24, 32), np.uint8)
    label[3:9] = 20
    write_mask(folder / "2008_000006.png", label, VOC)
    Image.fromarray(np.full((20, 30), 7, np.uint8)).save(folder / "2008_000011.png")
    return folder


@pytest.mark.parametrize("suffix", submission.SUFFIXES)
def test_what_is_packed_passes_the_check(predictions: Path, tmp_path: Path, suffix: str) -> None:
    archive = tmp_path / f"results{suffix}"
    submission.pack(predictions, archive, sizes=SIZES)
    assert submission.faults(archive, sizes=SIZES) == []
    first = archive.read_bytes()
    submission.pack(predictions, archive, sizes=SIZES)
    assert archive.read_bytes() == first
    folder = tmp_path / "unpacked"
    if suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
    else:
        with tarfile.open(archive) as packed_tar:  # extractall has its filter from 3.11.4 on
            for member in filter(tarfile.TarInfo.isfile, packed_tar):
                stream = packed_tar.extractfile(member)
                assert stream is not None
                (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
                (folder / member.name).write_bytes(stream.read())
    assert submission.faults(folder, sizes=SIZES) == []
    with Image.open(folder / TREE / "2008_000011.png") as image:
        assert image.mode == "P"
        assert image.size == (30, 20)
        assert (np.asarray(image) == 7).all()
        assert image.getpalette("RGB") == VOC.palette()


def test_the_other_competition_has_its_own_folder(predictions: Path, tmp_path: Path) -> None:
    archive = tmp_path / "results.tgz"
    submission.pack(predictions, archive, sizes=SIZES, competition="comp5")
    assert submission.faults(archive, sizes=SIZES, competition="comp5") == []
    assert len(submission.faults(archive, sizes=SIZES)) == 4


@pytest.mark.parametrize(
    ("spoil", "error", "reason"),
    [
        (lambda path: path.unlink(), FileNotFoundError, "is missing"),
        (lambda path: path.write_bytes(b""), ValueError, "is no PNG"),
        (lambda path: Image.new("L", (32, 23)).save(path), ValueError, "32 x 23 pixels, its photo"),
        (lambda path: Image.new("L", (32, 24), 255).save(path), ValueError, "holds 255"),
        (lambda path: Image.new("RGB", (32, 24)).save(path), ValueError, "pixel format RGB"),
    ],
)
def test_a_wrong_prediction_is_not_packed(
    predictions: Path, tmp_path: Path, spoil: object, error: type[Exception], reason: str
) -> None:
    spoil(predictions / "2008_000006.png")  # type: ignore[operator]
    with pytest.raises(error, match=r"2008_000006\.png") as caught:
        submission.pack(predictions, tmp_path / "results.tgz", sizes=SIZES)
    assert reason in str(caught.value)
    assert not list(tmp_path.glob("*results*"))


def test_the_check_names_every_fault(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    tree = folder / TREE
    own = ClassTable.of_names("own", ["dent", "scratch"])
    names = [f"p{place}" for place in range(7)]
    for name in names:
        write_mask(tree / f"{name}.png", np.full((4, 5), 2, np.uint8), VOC)
    Image.fromarray(np.full((4, 5), 2, np.uint8)).save(tree / "p1.png")  # black masks
    write_mask(tree / "p2.png", np.full((4, 4), 2, np.uint8), VOC)
    write_mask(tree / "p3.png", np.full((4, 5), 255, np.uint8), VOC)
    Image.new("RGB", (5, 4)).save(tree / "p4.png")
    (tree / "p5.png").write_bytes(b"text")
    (tree / "p6.png").rename(folder / "p6.png")
    swapped = own.palette()
    swapped[6:9] = [1, 2, 3]
    with Image.open(tree / "p0.png") as image:
        image.putpalette(swapped)
        image.save(tree / "p0.png")
    found = submission.faults(folder, sizes=dict.fromkeys(names, (4, 5)))
    shown = sorted(fault.removeprefix(f"{TREE}/") for fault in found)
    assert shown[:5] == [
        "p0.png has not VOC's palette",
        "p1.png has not VOC's palette",
        "p2.png is (4, 4) (width, height), its photo (5, 4)",
        "p3.png holds 255, not only 0..20",
        "p4.png cannot be used: it has pixel format RGB: one number a pixel is expected",
    ]
    assert shown[5].startswith("p5.png cannot be used: it is no PNG")
    assert shown[6:] == [
        f"p6.png does not belong there: only {TREE}/<id>.png does",
        "p6.png is missing",
    ]


def test_many_faults_are_counted(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    sizes = {f"{place:03d}": (4, 4) for place in range(100)}
    found = submission.faults(tmp_path / "empty", sizes=sizes)
    assert len(found) == submission.MOST_FAULTS + 1
    assert found[-1] == "and 80 more"


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    for name in ("a.tgz", "a.zip"):
        (tmp_path / name).write_bytes(b"not packed")
        with pytest.raises(ValueError, match=rf"{name} cannot be unpacked"):
            submission.faults(tmp_path / name, sizes=SIZES)
    with pytest.raises(ValueError, match="the server takes"):
        submission.pack(tmp_path, tmp_path / "a.rar", sizes=SIZES)


@pytest.mark.parametrize("suffix", submission.SUFFIXES)
def test_a_torn_archive_is_no_bug(predictions: Path, tmp_path: Path, suffix: str) -> None:
    archive = tmp_path / f"results{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr(f"{TREE}/2008_000006.png", bytes(range(256)) * 50)
    else:
        submission.pack(predictions, archive, sizes=SIZES)
    whole = archive.read_bytes()
    for place in range(60, len(whole) - 60, 7):
        archive.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with suppress(ValueError):  # anything else is a bug
            submission.faults(archive, sizes=SIZES)


def test_links_and_odd_members_of_an_archive_are_faults(tmp_path: Path) -> None:
    archive = tmp_path / "a.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        link = tarfile.TarInfo(f"{TREE}/2008_000006.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(link)
        member = tarfile.TarInfo("../outside.png")
        packed.addfile(member, io.BytesIO())
    found = submission.faults(archive, sizes={"2008_000006": (4, 4)})
    assert len(found) == 2
    assert "is no PNG" in found[0]
    assert "does not belong there" in found[1]


@pytest.mark.parametrize("suffix", [".tgz", ".zip"])
def test_a_member_that_is_there_twice_is_a_fault(
    predictions: Path, tmp_path: Path, suffix: str
) -> None:
    """Which of the two a server keeps, nobody knows."""
    archive, name = tmp_path / f"a{suffix}", f"{TREE}/2008_000006.png"
    submission.pack(predictions, archive, sizes=SIZES)
    content = (predictions / "2008_000006.png").read_bytes()
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "a") as packed, pytest.warns(UserWarning, match="Duplicate"):
            packed.writestr(name, content)
    else:
        with tarfile.open(archive) as whole:
            members = [(one, whole.extractfile(one).read()) for one in whole]  # type: ignore[union-attr]
        with tarfile.open(archive, "w:gz") as again:
            for member, bytes_of in [*members, members[0]]:
                again.addfile(member, io.BytesIO(bytes_of))
    assert submission.faults(archive, sizes=SIZES) == [f"{name} is there more than once"]


def test_sizes_are_those_of_the_photos(tmp_path: Path) -> None:
    write_photo(tmp_path / "2008_000006.jpg", size=(24, 32))
    assert dict(submission.sizes(tmp_path, ["2008_000006"])) == {"2008_000006": (24, 32)}
    with pytest.raises(FileNotFoundError, match=r"2008_000011\.jpg is missing"):
        list(submission.sizes(tmp_path, ["2008_000011"]))
