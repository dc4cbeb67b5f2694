"""One stage, one rank: `python -m pipeline.worker ORDER.json` runs what a work order says.

Events leave as JSON lines on standard output: progress, figures, notes, and last either `done`
(seconds, peak memory, versions) or `error`. Whatever the stage prints goes to standard error.
"""

import importlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from pydantic import BaseModel

from pipeline.context import Context, Listener
from pipeline.memory import peak_bytes, reset_peak

LEASH = "--leash"
"""Flag: end when standard input closes, so that a worker never outlives the run that locks."""


@dataclass(frozen=True)
class Order:
    """All that a process needs to run one rank of one stage, as plain JSON values."""

    stage: str
    module: str
    model: str
    """The settings' class as "module:name"."""
    config: dict[str, Any]
    inputs: dict[str, str]
    out: str
    device: str = "auto"
    precision: str = "auto"
    workers: int = 1
    places: dict[str, str] = field(default_factory=dict)
    trusted: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Order":
        """The order of a JSON text; ValueError where it is none."""
        try:
            values = json.loads(text)
            return cls(**{**values, "trusted": tuple(values.get("trusted", ()))})
        except TypeError as error:
            raise ValueError(f"this is no work order: {error}") from None

    def dump(self) -> str:
        return json.dumps(asdict(self))

    def settings(self) -> BaseModel:
        """The settings as the model they were given in."""
        module, _, name = self.model.partition(":")
        model = importlib.import_module(module)
        for part in name.split("."):
            model = getattr(model, part)
        return model.model_validate(self.config)


def execute(order: Order, listener: Listener) -> dict[str, Any]:
    """Runs the stage in this process. Returns seconds, peak memory in bytes, library versions.

    The rank comes from RANK and WORLD_SIZE, as `torchrun` sets them; a plain process is rank 0.
    """
    stage = importlib.import_module(order.module)
    context = Context(
        device=order.device,
        precision=order.precision,
        workers=order.workers,
        rank=int(os.environ.get("RANK", "0")),
        world=int(os.environ.get("WORLD_SIZE", "1")),
        places={name: Path(path) for name, path in order.places.items()},
        trusted=order.trusted,
        listener=listener,
    )
    inputs = {name: Path(path) for name, path in order.inputs.items()}
    reset_peak()
    started = time.monotonic()
    stage.run(order.settings(), inputs, Path(order.out), context)
    return {
        "seconds": time.monotonic() - started,
        "peak_memory_bytes": peak_bytes(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Python's version and that of every library that this process has loaded."""
    found = {"python": sys.version.split()[0]}
    for name, module in sorted(sys.modules.items()):
        version = vars(module).get("__version__") if module is not None else None
        if "." in name or name.startswith("_") or name in sys.stdlib_module_names:
            continue
        if isinstance(version, str):
            found[name] = version
    return found


class Lines:
    """A listener that writes each event as one line of JSON."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def send(self, event: str, **fields: Any) -> None:
        print(json.dumps({"event": event, **fields}), file=self.stream, flush=True)

    def progress(self, done: int, total: int, unit: str) -> None:
        self.send("progress", done=done, total=total, unit=unit)

    def figures(self, figures: Mapping[str, float]) -> None:
        self.send("figures", figures={name: float(value) for name, value in figures.items()})

    def note(self, text: str) -> None:
        self.send("note", text=text)


def main(argv: list[str]) -> int:
    """Runs the order in the file named on the command line; 0, or 1 after an `error` event."""
    if not argv or set(argv[1:]) - {LEASH}:
        print(f"usage: python -m pipeline.worker ORDER.json [{LEASH}]", file=sys.stderr)
        return 2
    if LEASH in argv:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    lines = Lines(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # what the stage or a library prints must not mix with the events
    try:
        order = Order.parse(Path(argv[0]).read_text())
        lines.send("done", **execute(order, lines))
    except (ValueError, OSError) as error:
        kind = "ValueError" if isinstance(error, ValueError) else "OSError"
        lines.send("error", kind=kind, text=str(error), trace=traceback.format_exc())
        return 1
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        lines.send("error", kind="bug", text=text, trace=traceback.format_exc())
        return 1
    return 0


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
