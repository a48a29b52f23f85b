"""LeNet, without and with batch norm. Images are `[N, C, H, W]`.

[1] LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document
    Recognition, 1998. Average pooling and sigmoids stand in for its trained pooling and
    its scaled hyperbolic tangents, and ten logits for its output units.
[2] Glorot, Bengio: Understanding the difficulty of training deep feedforward neural
    networks, 2010.
"""

from functools import partial

from torch import nn

from course_utils.conv_arithmetic import output_size, smallest_input
from course_utils.pt.batch_norm import BatchNorm


def xavier(module):
    """Draw the weights of a convolution or a dense layer as [2] does, equation 16."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)


def flat_features(image_size, layers, channels):
    """Return how many numbers `channels` maps hold behind `layers`: (kernel, stride, padding).

    Raises ValueError, naming the smallest size that works, where nothing would be left.
    """
    smallest = smallest_input(layers)
    if image_size < smallest:
        raise ValueError(
            f"Images of {image_size}x{image_size} are too small for this network: "
            f"give at least {smallest}x{smallest}."
        )
    for kernel, stride, padding in layers:
        image_size = output_size(image_size, kernel, stride, padding)
    return channels * image_size**2


def lenet_layers(in_channels, num_classes, image_size, padding, norm, activation):
    """Return LeNet's layers in order; `norm(channels)` follows each hidden layer, if given."""

    def hidden(layer, channels):
        return [layer, *([norm(channels)] if norm else []), activation()]

    flat = flat_features(image_size, [(5, 1, padding), (2, 2, 0), (5, 1, 0), (2, 2, 0)], 16)
    return nn.Sequential(
        *hidden(nn.Conv2d(in_channels, 6, 5, padding=padding), 6),
        nn.AvgPool2d(2),
        *hidden(nn.Conv2d(6, 16, 5), 16),
        nn.AvgPool2d(2),
        nn.Flatten(),
        *hidden(nn.Linear(flat, 120), 120),
        *hidden(nn.Linear(120, 84), 84),
        nn.Linear(84, num_classes),
    ).apply(xavier)


class LeNet(nn.Module):
    """LeNet-5 with sigmoids and Xavier weights: `[N, in_channels, H, W]` to logits.

    H and W are `image_size`. Raises ValueError for sizes that leave no pixel ([1] has 32
    without padding, 28 with it).
    """

    def __init__(self, num_classes=10, in_channels=1, image_size=28, activation=nn.Sigmoid):
        super().__init__()
        self.net = lenet_layers(in_channels, num_classes, image_size, 2, None, activation)

    def forward(self, x):
        return self.net(x)


class BNLeNet(nn.Module):
    """LeNet with batch norm behind each hidden layer, and no padding in the first.

    The biases in front of batch norm have no effect; they are kept for the old post's
    count. `norm(channels)` makes the normalisation; the default is the layer of chapter 03.
    """

    def __init__(self, num_classes=10, in_channels=1, image_size=28, norm=None):
        super().__init__()
        norm = norm or partial(BatchNorm, decay=0.9)
        self.net = lenet_layers(in_channels, num_classes, image_size, 0, norm, nn.Sigmoid)

    def forward(self, x):
        return self.net(x)
