"""Batch norm that also trains where a batch holds a single value a channel."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class BatchNorm(nn.BatchNorm2d):
    """PyTorch's, but of one value a channel it takes the running statistics, in training too.

    One value has no variance, and PyTorch raises ValueError: a pooled branch meets that with a
    batch of one photo, a coarse level with one small crop. Everywhere else it is PyTorch's own.
    """

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if self.training and input.numel() == input.shape[1]:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)
