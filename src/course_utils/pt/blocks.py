"""Residual and highway blocks for PyTorch. Images are `[N, C, H, W]`.

The names of the layers inside `BasicBlock` and `Bottleneck` are those of the weight files
that the world shares (`conv1`, `bn1`, ..., `downsample`), so such files load as they are.

[1] He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015.
[2] He, Zhang, Ren, Sun: Identity Mappings in Deep Residual Networks, 2016.
[3] Srivastava, Greff, Schmidhuber: Highway Networks, 2015.
"""

import torch
from torch import nn
from torch.nn import functional as F


def conv(in_channels, out_channels, kernel_size, stride=1, bias=False):
    """Return a convolution padded by (kernel_size - 1) // 2 on every side."""
    padding = (kernel_size - 1) // 2
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=bias)


def norm(channels, decay):
    """Return PyTorch's batch norm; its momentum is the weight of the new value."""
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=1 - decay)


def projection(in_channels, out_channels, stride, decay):
    """Return the shortcut's 1x1 convolution and batch norm, or None where shapes agree."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(conv(in_channels, out_channels, 1, stride), norm(out_channels, decay))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut ([1], figure 2).

    Maps `[N, in_channels, H, W]` to `[N, out_channels, ceil(H / stride), ceil(W / stride)]`.
    The shortcut is the identity where the shapes agree, else a projection ([1], option B).
    """

    def __init__(self, in_channels, out_channels, stride=1, decay=0.9):
        super().__init__()
        self.conv1 = conv(in_channels, out_channels, 3, stride)
        self.bn1 = norm(out_channels, decay)
        self.conv2 = conv(out_channels, out_channels, 3)
        self.bn2 = norm(out_channels, decay)
        # Weight files call the projection "downsample", also where nothing gets smaller.
        self.downsample = projection(in_channels, out_channels, stride, decay)

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        residual = F.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        return F.relu(shortcut + residual)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut ([1], figure 5, right).

    Maps `[N, in_channels, H, W]` to `[N, out_channels, ceil(H / stride), ceil(W / stride)]`.
    The stride sits on the 3x3 convolution, as in torchvision ("V1.5"). The models that
    the authors of [1] published have it on the first 1x1, which then never looks at three of
    four pixels.
    """

    def __init__(self, in_channels, bottleneck_channels, out_channels, stride=1, decay=0.9):
        super().__init__()
        self.conv1 = conv(in_channels, bottleneck_channels, 1)
        self.bn1 = norm(bottleneck_channels, decay)
        self.conv2 = conv(bottleneck_channels, bottleneck_channels, 3, stride)
        self.bn2 = norm(bottleneck_channels, decay)
        self.conv3 = conv(bottleneck_channels, out_channels, 1)
        self.bn3 = norm(out_channels, decay)
        self.downsample = projection(in_channels, out_channels, stride, decay)

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        residual = F.relu(self.bn1(self.conv1(x)))
        residual = F.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        return F.relu(shortcut + residual)


class PreActBottleneck(nn.Module):
    """Bottleneck with batch norm and ReLU before the weights ([2], figure 4e), as in slim.

    Maps `[N, in_channels, H, W]` to `[N, out_channels, ceil(H / stride), ceil(W / stride)]`.
    Nothing follows the sum. The projection reads the pre-activated input; it and `conv3`
    have a bias and no batch norm. An identity shortcut with a stride takes every
    stride-th pixel.
    """

    def __init__(self, in_channels, bottleneck_channels, out_channels, stride=1, decay=0.9):
        super().__init__()
        self.stride = stride
        self.preact = norm(in_channels, decay)
        self.conv1 = conv(in_channels, bottleneck_channels, 1)
        self.bn1 = norm(bottleneck_channels, decay)
        self.conv2 = conv(bottleneck_channels, bottleneck_channels, 3, stride)
        self.bn2 = norm(bottleneck_channels, decay)
        self.conv3 = conv(bottleneck_channels, out_channels, 1, bias=True)
        self.projection = None
        if in_channels != out_channels:
            self.projection = conv(in_channels, out_channels, 1, stride, bias=True)

    def forward(self, x):
        preact = F.relu(self.preact(x))
        if self.projection is None:
            shortcut = x[:, :, :: self.stride, :: self.stride]
        else:
            shortcut = self.projection(preact)
        residual = F.relu(self.bn1(self.conv1(preact)))
        residual = F.relu(self.bn2(self.conv2(residual)))
        return shortcut + self.conv3(residual)


class Highway(nn.Module):
    """Fully connected highway layer y = H(x) T(x) + x (1 - T(x)) ([3], equation 3).

    Maps `[N, units]` to `[N, units]`. A negative `gate_bias` starts the layer near the
    identity ([3], section 2.2).
    """

    def __init__(self, units, gate_bias=-2.0):
        super().__init__()
        self.transform = nn.Linear(units, units)
        self.gate = nn.Linear(units, units)
        nn.init.constant_(self.gate.bias, gate_bias)

    def gate_values(self, x):
        return torch.sigmoid(self.gate(x))

    def forward(self, x):
        gate = self.gate_values(x)
        return F.relu(self.transform(x)) * gate + x * (1 - gate)
