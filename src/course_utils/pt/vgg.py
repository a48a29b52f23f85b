"""VGG: networks of 3x3 convolutions. Images are `[N, C, H, W]`.

[1] Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image
    Recognition, 2014, table 1.
"""

from torch import nn

from course_utils.pt.lenet import flat_features, xavier

# (number of convolutions, channels) of each block. The narrow one has a quarter of the
# channels of VGG-11, column A of [1].
VGG11_BLOCKS = ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512))
NARROW_VGG11_BLOCKS = ((1, 16), (1, 32), (2, 64), (2, 128), (2, 128))


def vgg_block(in_channels, out_channels, num_convs):
    """Return `num_convs` 3x3 convolutions with ReLU, and a pooling that halves the size."""
    layers = []
    for i in range(num_convs):
        channels = in_channels if i == 0 else out_channels
        layers += [nn.Conv2d(channels, out_channels, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2))


class VGG(nn.Module):
    """Blocks of 3x3 convolutions, then three dense layers: `[N, in_channels, H, W]` to logits.

    H and W are `image_size`; each block halves it, rounding down. `hidden` is the width of
    the two hidden dense layers. Raises ValueError for sizes that leave no pixel.
    """

    def __init__(
        self,
        num_classes=10,
        in_channels=1,
        image_size=224,
        blocks=NARROW_VGG11_BLOCKS,
        hidden=4096,
    ):
        super().__init__()
        # Block i reads widths[i] channels.
        widths = [in_channels, *(channels for _, channels in blocks)]
        poolings = [(2, 2, 0)] * len(blocks)  # (kernel, stride, padding) of each
        flat = flat_features(image_size, poolings, widths[-1])
        self.net = nn.Sequential(
            *(vgg_block(widths[i], out, convs) for i, (convs, out) in enumerate(blocks)),
            nn.Flatten(),
            *(nn.Linear(flat, hidden), nn.ReLU(), nn.Dropout(0.5)),
            *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.5)),
            nn.Linear(hidden, num_classes),
        ).apply(xavier)

    def forward(self, x):
        return self.net(x)
