"""What every context head of the segmentation network is."""

from jaxtyping import Float, Int64
from torch import Tensor, nn


class Head(nn.Module):
    """Backbone maps in, logits out.

    A head is built by its module's `build(channels, strides, classes, config, graph)`:
    `channels` and `strides` describe the backbone maps from fine to coarse, `classes` counts the
    background, `config` is a `stages.nets.settings.HeadConfig`, and `graph` a ClassGraph (None is
    fine for heads that use none). It needs no label but the semantic map and takes any input size.
    """

    stride: int
    """Pixels of the photo per cell of the logits."""
    levels: tuple[int, ...]
    """The backbone maps that are read; entries of the others may hold anything."""

    def forward(self, features: list[Tensor]) -> tuple[Float[Tensor, "b c h w"], dict[str, Tensor]]:
        """Logits at `stride` (classes on axis 1, background first) and what `loss` needs of them.

        `features[i]` is `b channels[i] H/strides[i] W/strides[i]`, fine to coarse.
        """
        raise NotImplementedError

    def targets(self, labels: Int64[Tensor, "b h w"]) -> dict[str, Tensor]:
        """What `loss` needs of labels that is slow to make; made on the CPU, ahead of the step.

        `labels` are at full size, ignored where `data.labels.ignore_of`. Nothing by default.
        """
        del labels
        return {}

    def loss(
        self,
        aux: dict[str, Tensor],
        labels: Int64[Tensor, "b h w"],
        targets: dict[str, Tensor],
    ) -> Float[Tensor, ""]:
        """The head's own losses, weighted, on full-size labels; 0 by default.

        `aux` is what `forward` returned, `targets` what `targets` made of these labels, on the
        device of the labels.
        """
        del aux, targets
        return labels.new_zeros((), dtype=next(self.parameters()).dtype)
