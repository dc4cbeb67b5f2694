"""Where a network runs and in which precision: found out once, refused clearly where absent."""

from collections.abc import Callable
from typing import Any

import torch


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`: "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:1".

    Raises ValueError where the name means nothing to torch or the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as problem:
        raise ValueError(f"device {name!r} is unknown; use auto, cpu, cuda or cuda:1") from problem
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: torch finds no CUDA device here; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r}: there are only {torch.cuda.device_count()} of them")
    return device


def _cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself (AVX512-BF16 or AMX), not by emulation."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is native, hence fast, on `device`."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and _cpu_has_bfloat16()


# Precision -> does the forward pass run in bfloat16 on this device?
PRECISIONS: dict[str, Callable[[torch.device], bool]] = {
    "auto": has_bfloat16,
    "float32": lambda device: False,
    "bfloat16": lambda device: True,
}


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A fresh context for one forward pass: bfloat16 as `precision` says, else float32.

    `precision` is "auto" (bfloat16 where the hardware has it), "float32" or "bfloat16".
    Make one for each forward pass. Raises ValueError for another word.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is unknown; use {', '.join(PRECISIONS)}")
    enabled = PRECISIONS[precision](device)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
