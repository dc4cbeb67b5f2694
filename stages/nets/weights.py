"""Initial weights of a backbone: what they are, where they come from and what supervised them."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
from safetensors import SafetensorError, safe_open
from torch import Tensor

from knowledge.classes import COCO, VOC

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Parts of timm's weight tags -> what supervised such weights.
SUPERVISION = {
    "in1k": "ImageNet-1k image labels",
    "in12k": "ImageNet-12k image labels",
    "in21k": "ImageNet-21k image labels",
    "in22k": "ImageNet-22k image labels",
    "fb_ssl": "unlabelled photos and ImageNet-1k image labels",
    "fb_swsl": "hashtags and ImageNet-1k image labels",
    "clip": "image-text pairs (CLIP)",
    "laion": "image-text pairs (LAION)",
    "openai": "image-text pairs (OpenAI CLIP)",
    "dino": "no labels (DINO)",
    "mae": "no labels (MAE)",
    "jft": "JFT image labels",
}


MASKS = re.compile(r"mask|segment|instance|panoptic|pixel|polygon|outline|stuff", re.IGNORECASE)
"""Words for labels that are drawn."""
WITHOUT = re.compile(r"\b(no|without)( \w+)? (masks|pixel labels)", re.IGNORECASE)
GIVEN = re.compile(r"tag|image label|class label|caption|box|no label|unlabelled", re.IGNORECASE)
"""Words for labels that are not."""


@dataclass(frozen=True)
class InitialWeights:
    """Tensors under timm's keys, the input that they expect, and their card."""

    state: dict[str, Tensor] | None
    """None: random weights."""
    card: dict[str, Any]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    pad_type: str | None = None
    folded: bool = False
    """Batch norm is folded into the convolutions, hence must stay frozen."""
    metadata: dict[str, str] = field(default_factory=dict)


def scratch_weights(name: str) -> InitialWeights:
    """Random weights: trained by nothing."""
    del name
    return InitialWeights(None, {"weights": "scratch", "supervision": "none (random weights)"})


def pretrained_weights(name: str) -> InitialWeights:
    """timm's own weights of `name` ("resnet50" or "resnet50.a1_in1k"), downloaded once by timm.

    Raises OSError where they cannot be had, ValueError where timm has none or their tag does not
    say what supervised them.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise ValueError(
            f"timm has no pretrained weights of {name}: use weights=scratch or your own file"
        )
    tag = config.tag or ""
    supervised = [text for part, text in SUPERVISION.items() if part in tag]
    if not supervised and "imagenet" not in (config.url or ""):
        supervised = ["ImageNet-1k image labels"] if config.num_classes == 1000 else []
    if not supervised:
        raise ValueError(f"the weights {name}.{tag} do not say what supervised them: name others")
    try:
        net = timm.create_model(name, pretrained=True)
    except Exception as problem:  # hub clients raise the errors of several libraries
        raise OSError(
            f"the ImageNet weights of {name} cannot be downloaded ({type(problem).__name__}). Ways "
            "out: connect once (timm keeps them), give a local safetensors file "
            "(weights-file), or train from weights=scratch"
        ) from problem
    card = {
        "weights": f"timm {name.split('.')[0]}.{tag}".rstrip("."),
        "supervision": " + ".join(supervised),
        "licence": config.license,
    }
    return InitialWeights(dict(net.state_dict()), card, tuple(config.mean), tuple(config.std))


def read_weights(name: str, path: Path, *, supervision: str | None = None) -> InitialWeights:
    """Weights of `name` in a safetensors file, and what its metadata say about them.

    Read from the metadata's texts: `pad_type=<word>`; `mean <x>, std <y>` (one number or three, of
    inputs in [0, 1]); the word `folded`; `source`; `supervision`.

    Raises FileNotFoundError, or ValueError where it is no safetensors file, is of another
    architecture, or neither says what supervised it nor is told so by `supervision`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weight file (setting weights-file)")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as problem:
        raise ValueError(f"{path} is no readable safetensors file: {problem}") from problem
    text = " ".join(f"{key}: {value}" for key, value in sorted(metadata.items()))
    pad = re.search(r"pad_type\s*[=:]\s*(\w+)", text)
    card = {
        "weights": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "source": metadata.get("source", ""),
        "supervision": _supervision(path, metadata, supervision),
    }
    return InitialWeights(
        state,
        card,
        mean=_three(r"mean", text) or IMAGENET_MEAN,
        std=_three(r"std", text) or IMAGENET_STD,
        pad_type=pad.group(1) if pad else None,
        folded="folded" in text,
        metadata=metadata,
    )


def _supervision(path: Path, metadata: dict[str, str], told: str | None) -> str:
    """What supervised the weights, from whoever says it; nothing is guessed."""
    stated = metadata.get("supervision") or told
    if stated:
        return stated
    if "imagenet" in path.stem.lower() and metadata.get("source"):
        return "ImageNet-1k image labels (by the file's name)"
    raise ValueError(
        f"{path} does not say what its weights were trained from: name it with the setting "
        "weights-supervision, for example 'ImageNet-1k image labels'"
    )


def check_supervision(card: Mapping[str, Any], classes: Sequence[str]) -> None:
    """Raise ValueError for weights that were trained on masks of the very data that is labelled.

    card: `InitialWeights.card`, as a backbone keeps it. classes: names of the data set's classes in
    label order; those of COCO's or VOC's table mean that data set. What its card says of COCO or
    VOC without saying of which kind the labels were is refused too: nothing is guessed.
    """
    table = next((one for one in (COCO, VOC) if one.names == tuple(classes)), None)
    said = str(card.get("supervision", ""))
    if table is None or not re.search(rf"\b(ms)?{table.name}(?!ab)", said, re.IGNORECASE):
        return
    told = WITHOUT.sub("", said)
    if MASKS.search(told) or not GIVEN.search(told):
        raise ValueError(
            f"the initial weights {card.get('weights', '')} were supervised by {said!r}: weights "
            f"that saw masks of {table.name.upper()} make its labels no result from tags. Take "
            "others, or name what they learnt from ('image tags', 'boxes', 'captions') in the "
            "file's metadata or with weights-supervision"
        )


def _three(word: str, text: str) -> tuple[float, ...] | None:
    """The number or the three numbers after `word`, as three; None where there are none."""
    match = re.search(rf"\b{word}\b[\s=:(\[]*([\d.]+(?:\s*,\s*[\d.]+){{2}}|[\d.]+)", text)
    if match is None:
        return None
    numbers = tuple(float(part) for part in match.group(1).split(","))
    return numbers * 3 if len(numbers) == 1 else numbers
