"""Network in Network. Images are `[N, C, H, W]`.

[1] Lin, Chen, Yan: Network In Network, 2013.
"""

from torch import nn

from course_utils.conv_arithmetic import smallest_input
from course_utils.pt.lenet import xavier

# (kernel, stride, padding) of the blocks' first convolutions and the poolings, in order.
# The 1x1 convolutions never change the size.
NIN_SIZES = ((11, 4, 0), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 2, 0), (3, 1, 1))


def nin_block(in_channels, out_channels, kernel_size, stride, padding, last_relu=True):
    """Return a convolution and two 1x1 convolutions, each with ReLU ([1], section 3.1)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, 1),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, 1),
        *([nn.ReLU()] if last_relu else []),
    )


class NiN(nn.Module):
    """Four NiN blocks and global average pooling: `[N, in_channels, H, W]` to logits.

    There is no dense layer: the last block has one channel for each class ([1], section
    3.2). `last_relu=False` leaves out the ReLU behind it, which keeps logits from being
    negative and stops the gradient of each class that is 0 everywhere.

    Takes any size from `NiN.smallest_size` on; below it the call raises ValueError.
    """

    smallest_size = smallest_input(NIN_SIZES)

    def __init__(self, num_classes=10, in_channels=1, last_relu=True):
        super().__init__()
        self.net = nn.Sequential(
            nin_block(in_channels, 96, 11, 4, 0),
            nn.MaxPool2d(3, stride=2),
            nin_block(96, 256, 5, 1, 2),
            nn.MaxPool2d(3, stride=2),
            nin_block(256, 384, 3, 1, 1),
            nn.MaxPool2d(3, stride=2),
            nn.Dropout(0.5),
            nin_block(384, num_classes, 3, 1, 1, last_relu),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ).apply(xavier)

    def forward(self, x):
        if min(x.shape[2:]) < self.smallest_size:
            raise ValueError(
                f"Images of {x.shape[2]}x{x.shape[3]} are too small for NiN: give at least "
                f"{self.smallest_size}x{self.smallest_size}."
            )
        return self.net(x)
