"""Which weights a training ends with: the last, their average over steps, or those of one epoch."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Kept(nn.Module):
    """Watches a training; its state is part of the training's checkpoint.

    The average is that of Polyak and Juditsky 1992 with exponential decay: it is what a noisy label
    moves least. An early epoch may be kept because networks learn what labels agree on before they
    learn what single labels have wrong (Arpit et al. 2017, arXiv 1706.05394).
    """

    score: Tensor

    def __init__(
        self,
        trained: nn.Module,
        optimiser: torch.optim.Optimizer,
        *,
        decay: float = 0.0,
        judge: Callable[[nn.Module], float] | None = None,
    ) -> None:
        """decay: of the average, a step; 0 for none. judge: module -> how good it is, in [0, 1]."""
        super().__init__()
        self.trained = (trained,)  # in a tuple: no part of this module's state
        self.judge = judge
        self.register_buffer("score", torch.tensor(-1.0, dtype=torch.float64))
        self.best = None if judge is None else deepcopy(trained)
        self.average: AveragedModel | None = None
        if decay:
            average = get_ema_multi_avg_fn(decay)
            self.average = AveragedModel(trained, multi_avg_fn=average, use_buffers=True)
            optimiser.register_step_post_hook(self._add)

    def _add(self, *_: object) -> None:
        assert self.average is not None
        self.average.update_parameters(self.trained[0])

    @property
    def current(self) -> nn.Module:
        """The average, or else the trained module as it is."""
        return self.trained[0] if self.average is None else self.average.module

    def epoch_done(self) -> dict[str, float]:
        """Judge the current weights and keep them if none were better; the figure for the log."""
        if self.judge is None or self.best is None:
            return {}
        found = self.judge(self.current)
        if found > float(self.score):
            self.score.fill_(found)
            self.best.load_state_dict(self.current.state_dict())
        return {"tag_agreement": found}

    def finish(self) -> None:
        """Give the trained module the weights that are kept."""
        chosen = self.current if self.best is None else self.best
        self.trained[0].load_state_dict(chosen.state_dict())
