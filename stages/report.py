"""Everything that a run has to say on one page.

    python run_pipeline.py --only report

Reads the artifacts of every other stage that the run has; writes report.html (one self-contained
file: no request leaves it, pictures are embedded, names are escaped) and report.json (every number
of the page). A run without evaluation, masks or upper bound gets a page that says so.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, Field

from pipeline.context import Context

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    """Settings of the page; none of them changes a number on it."""

    title: str = Field("", max_length=200, description="heading of the page; empty: made from it")
    shown: int = Field(6, ge=1, le=24, description="photos in each row group of the gallery")
    thumbnail: int = Field(256, ge=64, le=320, description="longest side of a picture in pixels")
    quality: int = Field(78, ge=30, le=95, description="JPEG quality of the pictures")
    megabytes: float = Field(6.0, gt=0.2, le=50, description="upper bound of the page in MB")


TEMPLATES = ("report.html", "macros.html", "report.css")


def sources(config: Config) -> dict[str, Path]:
    """The templates: the page depends on them as it does on the code."""
    del config
    folder = Path(__file__).parent / "reports"
    return {name: folder / name for name in TEMPLATES}


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Write report.html and report.json below `out` from whatever stages `inputs` holds.

    Raises:
        FileNotFoundError: `inputs` lacks the index, or a stage's artifact lacks a promised file.
    """
    from stages.reports.page import Look, Surroundings, write_page
    from stages.reports.predict import predictor

    predict = predictor(inputs.get("segment"), context)
    around = Surroundings(context.places, context.trusted, predict)
    write_page(Look(**config.model_dump()), inputs, out, around)
