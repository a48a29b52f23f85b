"""Batch normalisation from scratch, for PyTorch.

[1] Ioffe, Szegedy: Batch Normalization: Accelerating Deep Network Training by Reducing
    Internal Covariate Shift, 2015, algorithms 1 and 2.
"""

import torch
from torch import nn


def batch_statistics(x):
    """Return mean, biased variance and count of values per channel.

    `x` is `[batch, features]` or `[batch, channels, height, width]`. Raises ValueError where
    a channel has a single value: its variance would say nothing.
    """
    axes = (0,) if x.ndim == 2 else (0, 2, 3)
    count = x.numel() // x.shape[1]
    if count < 2:
        raise ValueError(
            f"BatchNorm cannot train on one value per channel, got shape {tuple(x.shape)}. "
            "Give a larger batch, or evaluate with training=False."
        )
    return x.mean(axes), x.var(axes, correction=0), count


def check_shape(x, channels):
    """Raise ValueError unless `x` has 2 or 4 axes, the second of size `channels`.

    A single channel would otherwise be broadcast to all of them, silently.
    """
    if x.ndim not in (2, 4) or x.shape[1] != channels:
        raise ValueError(
            f"BatchNorm({channels}) takes 2 or 4 axes, the second of size {channels}, "
            f"got shape {tuple(x.shape)}."
        )


class BatchNorm(nn.Module):
    """Batch normalisation over the batch, and over height and width of images ([1]).

    Takes `[batch, features]` or NCHW, returns the same shape. `decay` is the weight of the
    old moving average: 1 - momentum of `nn.BatchNorm2d`. `unbiased_variance` stores
    n / (n - 1) times the batch variance, as [1], PyTorch and slim do and Keras does not.
    `training` in the call overrides the module's own train() or eval() mode.
    """

    def __init__(self, num_features, decay=0.997, epsilon=1e-5, unbiased_variance=True):
        super().__init__()
        self.decay, self.epsilon, self.unbiased_variance = decay, epsilon, unbiased_variance
        self.gamma = nn.Parameter(torch.ones(num_features))
        self.beta = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("moving_mean", torch.zeros(num_features))
        self.register_buffer("moving_variance", torch.ones(num_features))

    def forward(self, x, training=None):
        check_shape(x, len(self.gamma))
        x = x.to(self.gamma.dtype)  # autocast gives half precision, too coarse for averages
        mean, variance = self.moving_mean, self.moving_variance
        if self.training if training is None else training:
            mean, variance, count = batch_statistics(x)
            self.update_moving_statistics(mean, variance, count)
        shape = (1, -1) + (1,) * (x.ndim - 2)  # one value per channel, ready to broadcast
        scale = self.gamma * torch.rsqrt(variance + self.epsilon)
        return (x - mean.view(shape)) * scale.view(shape) + self.beta.view(shape)

    @torch.no_grad()  # the averages are bookkeeping: no gradient may hang on to them
    def update_moving_statistics(self, mean, variance, count):
        if self.unbiased_variance:
            variance = variance * (count / (count - 1))
        self.moving_mean.lerp_(mean, 1 - self.decay)
        self.moving_variance.lerp_(variance, 1 - self.decay)
