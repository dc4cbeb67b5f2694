"""The figures of the dense CRF as rows of a table."""

from typing import Any

HEADER = (
    "| setting, labels | pydensecrf ms | ratio (least-most) | labels equal | photos equal "
    "| max dQ | points | frozen ratio, equal | 2 threads: over 1, over pydensecrf, frozen "
    "| MB: pydensecrf, here | 3 labellings at once |\n" + "|---" * 11 + "|"
)


def line(name: str, f: dict[str, Any]) -> str:
    """A row of the table."""
    cells = [
        name,
        f"{f['pydensecrf_ms']:.0f}",
        f"{f['ratio']:.1f} ({f['ratio_least']:.1f}-{f['ratio_most']:.1f})",
        f"{f['labels_equal'] * 100:.4f} %",
        f"{f['photos_all_equal'] * 100:.0f} % of {f['photos']}",
        f"{f['largest_difference']:.0e}",
        f"{f['lattice_points']}",
    ]
    if "two_threads_over_one" in f:
        cells += [
            f"{f['frozen_ratio']:.1f}, {f['frozen_labels_equal'] * 100:.4f} %",
            f"{f['two_threads_over_one']:.2f}, {f['two_threads_over_pydensecrf']:.1f}, "
            f"{f['two_threads_frozen_over_pydensecrf']:.1f}",
            f"{f['pydensecrf_mb']:.0f}, {f['tagmask_mb']:.0f}",
            f"{f['three_labellings_over_one_by_one']:.2f}",
        ]
    return "| " + " | ".join(cells + [""] * (11 - len(cells))) + " |"
