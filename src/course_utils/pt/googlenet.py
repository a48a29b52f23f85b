"""GoogLeNet. Images are `[N, C, H, W]`.

[1] Szegedy and others: Going Deeper with Convolutions, 2014, figure 2b and table 1. Its
    auxiliary classifiers, local response normalization and dropout are left out.
"""

import torch
from torch import nn

from course_utils.pt.lenet import xavier

# Output channels of the four paths of each inception block, stage by stage: 1x1, (reduction,
# 3x3), (reduction, 5x5), projection behind the pooling.
INCEPTIONS = (
    ((64, (96, 128), (16, 32), 32), (128, (128, 192), (32, 96), 64)),
    (
        (192, (96, 208), (16, 48), 64),
        (160, (112, 224), (24, 64), 64),
        (128, (128, 256), (24, 64), 64),
        (112, (144, 288), (32, 64), 64),
        (256, (160, 320), (32, 128), 128),
    ),
    ((256, (160, 320), (32, 128), 128), (384, (192, 384), (48, 128), 128)),
)


def conv(in_channels, out_channels, kernel, stride=1, norm=None):
    """Return a convolution padded by half its kernel, the norm if there is one, and a ReLU."""
    layer = nn.Conv2d(
        in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=norm is None
    )
    return nn.Sequential(layer, *([norm(out_channels)] if norm else []), nn.ReLU())


class Inception(nn.Module):
    """Four paths side by side, joined along the channels ([1], figure 2b).

    Maps `[N, in_channels, H, W]` to `[N, path1 + path2[1] + path3[1] + path4, H, W]`.
    `path2` and `path3` are (channels of the 1x1 reduction, output channels).
    """

    def __init__(self, in_channels, path1, path2, path3, path4, norm=None):
        super().__init__()
        self.path1 = conv(in_channels, path1, 1, norm=norm)
        self.path2 = nn.Sequential(
            conv(in_channels, path2[0], 1, norm=norm), conv(*path2, 3, norm=norm)
        )
        self.path3 = nn.Sequential(
            conv(in_channels, path3[0], 1, norm=norm), conv(*path3, 5, norm=norm)
        )
        self.path4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), conv(in_channels, path4, 1, norm=norm)
        )

    def forward(self, x):
        return torch.cat([self.path1(x), self.path2(x), self.path3(x), self.path4(x)], dim=1)


def inception_stage(in_channels, blocks, norm=None):
    """Return the inception blocks of one stage, and how many channels leave it."""
    layers = []
    for path1, path2, path3, path4 in blocks:
        layers.append(Inception(in_channels, path1, path2, path3, path4, norm))
        in_channels = path1 + path2[1] + path3[1] + path4
    return nn.Sequential(*layers), in_channels


def halve():
    """Return the max-pooling between the stages."""
    return nn.MaxPool2d(3, stride=2, padding=1)


class GoogLeNet(nn.Module):
    """Two stages of convolutions and three of inception blocks, then one dense layer.

    Maps `[N, in_channels, H, W]` to logits. `stem` and `inceptions` are the channels. The
    default is the old post's network: biases, Xavier's weights, no normalization. It may
    take long to begin to learn; `norm`, such as nn.BatchNorm2d, is called with the channels
    and stands behind each convolution, which then has no bias.
    """

    def __init__(
        self, num_classes=10, in_channels=1, inceptions=INCEPTIONS, stem=(64, 192), norm=None
    ):
        super().__init__()
        self.stage1 = nn.Sequential(conv(in_channels, stem[0], 7, 2, norm), halve())
        self.stage2 = nn.Sequential(
            conv(stem[0], stem[0], 1, norm=norm), conv(*stem, 3, norm=norm), halve()
        )
        self.stage3, channels = inception_stage(stem[1], inceptions[0], norm)
        self.stage4, channels = inception_stage(channels, inceptions[1], norm)
        self.stage5, channels = inception_stage(channels, inceptions[2], norm)
        self.stage3.append(halve())
        self.stage4.append(halve())
        self.stage5.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten()])
        self.fc = nn.Linear(channels, num_classes)
        self.apply(xavier)

    def forward(self, x):
        for stage in (self.stage1, self.stage2, self.stage3, self.stage4, self.stage5):
            x = stage(x)
        return self.fc(x)
