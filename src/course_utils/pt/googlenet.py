"""GoogLeNet. Images are `[N, C, H, W]`.

[1] Szegedy and others: Going Deeper with Convolutions, 2014, figure 2b and table 1. Its
    auxiliary classifiers, local response normalisation and dropout are left out.
"""

import torch
from torch import nn
from torch.nn import functional as F

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


class Inception(nn.Module):
    """Four paths side by side, joined along the channels ([1], figure 2b).

    Maps `[N, in_channels, H, W]` to `[N, path1 + path2[1] + path3[1] + path4, H, W]`.
    `path2` and `path3` are (channels of the 1x1 reduction, output channels).
    """

    def __init__(self, in_channels, path1, path2, path3, path4):
        super().__init__()
        self.path1 = nn.Conv2d(in_channels, path1, 1)
        self.path2_reduce = nn.Conv2d(in_channels, path2[0], 1)
        self.path2 = nn.Conv2d(path2[0], path2[1], 3, padding=1)
        self.path3_reduce = nn.Conv2d(in_channels, path3[0], 1)
        self.path3 = nn.Conv2d(path3[0], path3[1], 5, padding=2)
        self.path4_pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.path4 = nn.Conv2d(in_channels, path4, 1)

    def forward(self, x):
        path1 = F.relu(self.path1(x))
        path2 = F.relu(self.path2(F.relu(self.path2_reduce(x))))
        path3 = F.relu(self.path3(F.relu(self.path3_reduce(x))))
        path4 = F.relu(self.path4(self.path4_pool(x)))
        return torch.cat([path1, path2, path3, path4], dim=1)


def inception_stage(in_channels, blocks):
    """Return the inception blocks of one stage, and how many channels leave it."""
    layers = []
    for path1, path2, path3, path4 in blocks:
        layers.append(Inception(in_channels, path1, path2, path3, path4))
        in_channels = path1 + path2[1] + path3[1] + path4
    return nn.Sequential(*layers), in_channels


def halve():
    """Return the max-pooling between the stages."""
    return nn.MaxPool2d(3, stride=2, padding=1)


class GoogLeNet(nn.Module):
    """Two stages of convolutions and three of inception blocks, then one dense layer.

    Maps `[N, in_channels, H, W]` to logits.
    """

    def __init__(self, num_classes=10, in_channels=1):
        super().__init__()
        self.stage1 = nn.Sequential(
            nn.Conv2d(in_channels, 64, 7, stride=2, padding=3), nn.ReLU(), halve()
        )
        self.stage2 = nn.Sequential(
            *(nn.Conv2d(64, 64, 1), nn.ReLU()),
            *(nn.Conv2d(64, 192, 3, padding=1), nn.ReLU()),
            halve(),
        )
        self.stage3, channels = inception_stage(192, INCEPTIONS[0])
        self.stage4, channels = inception_stage(channels, INCEPTIONS[1])
        self.stage5, channels = inception_stage(channels, INCEPTIONS[2])
        self.stage3.append(halve())
        self.stage4.append(halve())
        self.stage5.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten()])
        self.fc = nn.Linear(channels, num_classes)
        self.apply(xavier)

    def forward(self, x):
        for stage in (self.stage1, self.stage2, self.stage3, self.stage4, self.stage5):
            x = stage(x)
        return self.fc(x)
