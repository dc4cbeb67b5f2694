"""Semantic attention of ECENet (arXiv 2308.12894): pixels read from classes, masks come with it.

After the released inference head.
"""

import torch
from jaxtyping import Float
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from stages.nets.settings import EceConfig


class SemanticAttention(nn.Module):
    """A map of pixels attends to the class embeddings; the scores are the masks of the classes.

    The released code shares out the values by a softmax of max(scores) - scores, that is of the
    scores with their sign turned: a pixel reads from the classes that it is least alike, while the
    masks have the sign as it is. `attn_sign` -1 follows it, +1 is attention as usual.
    """

    def __init__(self, config: EceConfig) -> None:
        """`config.channels` in and out, a multiple of `config.heads`."""
        super().__init__()
        self.heads, self.sign = config.heads, config.attn_sign
        width, hidden = config.channels, config.mlp_ratio * config.channels
        act = {"none": nn.Identity, "relu": nn.ReLU}[config.q_activation]
        self.pixel_norm = LayerNorm2d(width, eps=1e-5)
        self.query = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            act(),
            nn.Conv2d(width, width, 1),
            act(),
        )
        self.class_norm = nn.LayerNorm(width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Conv2d(width, width, 1)
        self.mlp = nn.Sequential(
            LayerNorm2d(width, eps=1e-5),
            nn.Conv2d(width, hidden, 1),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden),
            nn.GELU(),
            nn.Conv2d(hidden, width, 1),
        )

    def forward(
        self, x: Float[Tensor, "b width h w"], embeddings: Float[Tensor, "b k width"]
    ) -> tuple[Float[Tensor, "b width h w"], Float[Tensor, "b k h w"]]:
        """The map after it has read from the classes, and the raw logits of the class masks."""
        classes = self.class_norm(embeddings)
        scores = self.scores(x, classes)
        values = self._by_head(self.value(classes))  # b heads k d
        said = (self.shares(scores).to(values.dtype) @ values).transpose(1, 2).flatten(2)
        # b p width, seen as a map: channels last, as the convolutions like it on a CPU
        x = x + self.out(said.transpose(1, 2).unflatten(2, x.shape[2:]))
        masks = scores.mean(dim=1).transpose(1, 2)  # b k hw
        return x + self.mlp(x), masks.unflatten(2, x.shape[2:])

    def scores(
        self, x: Float[Tensor, "b width h w"], classes: Float[Tensor, "b k width"]
    ) -> Float[Tensor, "b heads p k"]:
        """q . k / sqrt(d) of every pixel and class, any real number; `classes` are normed."""
        query = self.query(self.pixel_norm(x)).flatten(2).transpose(1, 2)  # b p width
        keys = self._by_head(self.key(classes))  # b heads k d
        return self._by_head(query) @ (keys.transpose(2, 3) / keys.shape[-1] ** 0.5)

    def shares(self, scores: Float[Tensor, "b heads p k"]) -> Float[Tensor, "b heads p k"]:
        """What each pixel takes from each class, sums to 1 over the classes."""
        return torch.softmax(self.sign * scores, dim=3)

    def _by_head(self, rows: Float[Tensor, "b n width"]) -> Float[Tensor, "b heads n d"]:
        return rows.unflatten(2, (self.heads, -1)).transpose(1, 2)
