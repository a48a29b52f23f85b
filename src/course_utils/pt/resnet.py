"""ResNet with the names of the weight files that the world shares. Images are `[N, C, H, W]`.

[1] He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015, table 1.
[2] He, Zhang, Ren, Sun: Delving Deep into Rectifiers, 2015, section 2.2.
"""

from torch import nn
from torch.nn import functional as F

from course_utils.pt.blocks import BasicBlock, Bottleneck, norm
from course_utils.specs import RESNETS


def residual_stage(spec, index, stride):
    """Return the residual blocks of stage `index` (0 to 3); the first one has the stride."""
    inner, out_channels = spec.inner_channels[index], spec.out_channels[index]
    in_channels = spec.inner_channels[0] if index == 0 else spec.out_channels[index - 1]
    layers = []
    for i in range(spec.blocks[index]):
        channels = in_channels if i == 0 else out_channels
        step = stride if i == 0 else 1
        if spec.bottleneck:
            layers.append(Bottleneck(channels, inner, out_channels, step))
        else:
            layers.append(BasicBlock(channels, out_channels, step))
    return nn.Sequential(*layers)


def he_normal(module):
    """Draw a convolution's weights as [2] does, normal with variance 2 / n_out."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class ResNet(nn.Module):
    """The network of [1] for a `ResNetSpec`: `[N, in_channels, H, W]` to logits.

    The stride of a bottleneck sits on its 3x3 convolution, as in the published PyTorch
    weights ("V1.5"). Names and shapes in `state_dict()` are theirs too.
    """

    def __init__(self, spec, num_classes=10, in_channels=1):
        super().__init__()
        stem = spec.inner_channels[0]
        self.conv1 = nn.Conv2d(in_channels, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(stem, decay=0.9)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = residual_stage(spec, 0, stride=1)
        self.layer2 = residual_stage(spec, 1, stride=2)
        self.layer3 = residual_stage(spec, 2, stride=2)
        self.layer4 = residual_stage(spec, 3, stride=2)
        self.fc = nn.Linear(spec.out_channels[-1], num_classes)
        self.apply(he_normal)

    def features(self, x):
        """Return the last feature maps, `[N, channels, H, W]`, each side ceil(size / 32)."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, x):
        return self.fc(self.features(x).mean(dim=(2, 3)))


def resnet18(num_classes=10, in_channels=1):
    """Return ResNet-18."""
    return ResNet(RESNETS[18], num_classes, in_channels)


def resnet34(num_classes=10, in_channels=1):
    """Return ResNet-34."""
    return ResNet(RESNETS[34], num_classes, in_channels)


def resnet50(num_classes=10, in_channels=1):
    """Return ResNet-50."""
    return ResNet(RESNETS[50], num_classes, in_channels)
