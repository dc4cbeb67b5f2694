"""Set finished runs side by side, or say why they cannot be ranked.

    python run_pipeline.py compare runs/voc-cpu runs/voc-cpu-sgr

Reads the report of each run. Where two cards differ in what makes a ranking unfair (other photos,
masks, initial weights, supervision ...) it says in what and ranks nothing; else it prints every
score of the first run beside those of the others, and in what else the runs differ.
"""

from collections.abc import Sequence
from pathlib import Path

from stages.commands.parser import command_parser
from stages.reports.card import Difference, compare
from stages.reports.render import percent, plain

NAME_WIDTH = 34


def main(argv: list[str]) -> int:
    """Run the command; status 0: a table was printed, 1: the runs cannot be ranked.

    Raises FileNotFoundError or ValueError for a folder that holds no run with a report.
    """
    parser = command_parser("compare", __doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs: runs/<name>")
    folders = parser.parse_args(argv).runs
    if len(folders) < 2:
        raise ValueError(
            f"compare {folders[0]}: give two runs or more; heads are compared by --heads a,b"
        )
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is no folder of a run: give runs/<name>")
    first, *others = folders
    found = [compare(first, other) for other in others]
    unfair = {
        other: [d for d in differences if d.matters]
        for other, (differences, _) in zip(others, found, strict=True)
    }
    if any(unfair.values()):
        for other, differences in unfair.items():
            _say_differences(f"{first} and {other} are not ranked, they differ in", differences)
        return 1
    _table(folders, [figures for _, figures in found])
    for other, (differences, _) in zip(others, found, strict=True):
        _say_differences(f"{first} and {other} may be ranked; they differ in", differences)
    return 0


def _table(folders: Sequence[Path], found: Sequence[list[dict]]) -> None:
    """Scores in percent, a row a score that all runs have and a column a run."""
    by_name = [{figure["name"]: figure for figure in figures} for figures in found]
    names = [name for name in by_name[0] if all(name in figures for figures in by_name)]
    widths = [max(8, len(folder.name)) for folder in folders]
    titles = [f.name.rjust(width) for f, width in zip(folders, widths, strict=True)]
    print("  ".join(["percent".ljust(NAME_WIDTH), *titles]))
    for name in names:
        first = by_name[0][name]["first"]
        figures = [first, *(figures[name]["second"] for figures in by_name)]
        cells = [percent(f["value"]).rjust(w) for f, w in zip(figures, widths, strict=True)]
        print("  ".join([first["label"].ljust(NAME_WIDTH), *cells]))


def _say_differences(title: str, differences: Sequence[Difference]) -> None:
    if not differences:
        return
    print(f"\n{title}")
    for one in differences:
        print(f"  {one.name}: {plain(one.first)} | {plain(one.second)}")
