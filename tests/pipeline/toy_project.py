"""The files of the toy project: stages that count their work, and a main.py as of a real one."""

FILES = {
    "stages/__init__.py": "",
    "stages/index.py": '''
"""The photos there are."""
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from pipeline.key import Place

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    root: Annotated[Path | None, Place()] = Field(None, description="folder of the photos")
    count: int = Field(12, ge=1, description="number of photos")


def sources(config):
    names = sorted(config.root.glob("*.txt")) if config.root else []
    return {path.name: path for path in names}


def run(config, inputs, out, context):
    from stages.log import log

    log("index")
    texts = {label: path.read_text() for label, path in sources(config).items()}
    (out / "index.txt").write_text(f"{config.count} {texts}")
''',
    "stages/classify.py": '''
"""A classifier."""
from pydantic import BaseModel, Field

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    rate: float = Field(0.1, gt=0, description="learning rate")
    noise: bool = Field(False, description="other bytes at every training")


def run(config, inputs, out, context):
    import uuid

    from stages.log import log
    from stages.nets import weights

    log("classify")
    context.figures(loss=0.5)
    text = (inputs["index"] / "index.txt").read_text()
    noise = uuid.uuid4().hex if config.noise else ""
    (out / "model.txt").write_text(f"{weights.scaled(config.rate)} {text} {noise}")
''',
    "stages/cams.py": '''
"""One file a photo."""
import os
import time

from pydantic import BaseModel, Field

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    scale: float = Field(1.0, description="factor of the photo's side")
    labels_too: bool = Field(False, description="a setting with two words")


def run(config, inputs, out, context):
    from stages.log import log

    model = (inputs["classify"] / "model.txt").read_text()
    todo = [n for n in range(12) if not (out / f"{n}.cam").exists()]
    for n in context.track(todo, total=12, done=12 - len(todo)):
        time.sleep(float(os.environ.get("TOY_PAUSE", "0")))
        while os.environ.get("TOY_HOLD") == str(n) and not os.path.exists("go"):
            time.sleep(0.01)
        hidden = out / f".{n}.tmp"
        hidden.write_text(f"{n} {config.scale} {model}")
        hidden.rename(out / f"{n}.cam")
        log(f"cam {n}")
''',
    "stages/labels.py": '''
"""Labels of all photos."""
from pydantic import BaseModel, Field

VERSION = 1


class Crf(BaseModel, frozen=True, extra="forbid"):
    iterations: int = Field(10, ge=0, description="mean-field steps")


class Config(BaseModel, frozen=True, extra="forbid"):
    crf: Crf = Field(Crf(), description="dense CRF")


def run(config, inputs, out, context):
    from stages.log import log

    log("labels")
    cams = sorted(path.read_text() for path in inputs["cams"].glob("*.cam"))
    (out / "labels.txt").write_text(f"{config.crf.iterations} {cams}")
''',
    "stages/compare.py": '''
"""One line a classifier."""
from typing import Literal

from pydantic import BaseModel, Field

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    rates: tuple[float, ...] = Field((0.1, 0.2), description="learning rates to compare")
    twice: bool = Field(False, description="the first rate once more, under another name")
    marks: tuple[Literal["none", "grm", "aspp"], ...] = Field(("none",), description="words")


def run(config, inputs, out, context):
    from stages.log import log

    log("compare")
    lines = [f"{n}: {(path / '0.cam').read_text()}" for n, path in inputs.items()]
    (out / "compare.txt").write_text("\\n".join([*lines, *config.marks]))
''',
    "stages/log.py": """
import os


def log(text):
    with open(os.environ["TOY_LOG"], "a") as stream:
        stream.write(text + "\\n")
""",
    "stages/nets/__init__.py": "",
    "stages/nets/weights.py": '''
"""Weights."""


def scaled(rate):
    """Ten times the rate."""
    return rate * 10  # ten
''',
    "main.py": """
import json
import os
import resource
import sys

from pydantic import BaseModel

from pipeline.cli import main
from pipeline.graph import Pipeline, Stage
from pipeline.survey import Survey
from stages.cams import Config as Cams
from stages.classify import Config as Classify
from stages.compare import Config as Compare
from stages.index import Config as Index
from stages.labels import Config as Labels


class Recipe(BaseModel, frozen=True, extra="forbid"):
    dataset: Index = Index()
    classify: Classify = Classify()
    cams: Cams = Cams()
    labels: Labels = Labels()
    compare: Compare = Compare()


def build(recipe):
    return Pipeline([
        Stage("index", "stages.index", "dataset", recipe.dataset),
        Stage("classify", "stages.classify", "classify", recipe.classify, ("index",)),
        Stage("cams", "stages.cams", "cams", recipe.cams, ("index", "classify")),
        Stage("labels", "stages.labels", "labels", recipe.labels, ("cams",)),
    ])


def build_comparison(recipe):
    stages = [Stage("index", "stages.index", "dataset", recipe.dataset)]
    arms = {str(rate): rate for rate in recipe.compare.rates}
    if recipe.compare.twice:
        arms["again"] = recipe.compare.rates[0]
    for arm, rate in arms.items():
        config = recipe.classify.model_copy(update={"rate": rate})
        reads = {"index": "index", "classify": f"classify-{arm}"}
        stages += [
            Stage(f"classify-{arm}", "stages.classify", "classify", config, ("index",)),
            Stage(f"cams-{arm}", "stages.cams", "cams", recipe.cams, reads),
        ]
    reads = [f"cams-{arm}" for arm in arms]
    stages.append(Stage("compare", "stages.compare", "compare", recipe.compare, reads))
    return Pipeline(stages)


def shout(argv):
    print(" ".join(argv).upper())


def show(folder, as_json):
    text = (folder / "model.txt").read_text().strip()
    print(json.dumps({"model": text}) if as_json else f"model {text}")


def weigh(recipe, request):
    where = request.record.folder
    print(recipe.dataset.count, *request.pipeline.names, where, request.options.device)
    return 1 if recipe.dataset.count > 50 else 0


def meant(tokens):
    return "big" if "--cams.scale" in tokens else None


def closing(artifacts):
    return "report: " + str(artifacts.get("labels"))


RECIPES = {"toy": Recipe(), "big": Recipe(dataset=Index(count=99))}

if __name__ == "__main__":
    if "TOY_FILE_SIZE" in os.environ:
        limit = int(os.environ["TOY_FILE_SIZE"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    code = main(
        sys.argv[1:], program="main.py", recipes=RECIPES, build=build,
        pipelines={"compare": build_comparison},
        commands={"shout": shout, "compare": shout}, closing=closing,
        surveys={"weigh": Survey(weigh, lambda: "weigh counts the photos", meant)},
        shows={"classify": show},
    )
    if "TOY_PROBE" in os.environ:
        heavy = ("torch", "numpy", "joblib", "tyro", "rich", "filelock")
        print("imported:", *(name for name in heavy if name in sys.modules))
    sys.exit(code)
""",
}
