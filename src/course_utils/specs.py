"""The residual networks as data: one table that both frameworks and the tests read.

[1] He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015, table 1.
[2] He, Zhang, Ren, Sun: Identity Mappings in Deep Residual Networks, 2016.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ResNetSpec:
    """One residual network of [1], or its pre-activation twin of [2].

    `depth` counts the layers with weights on the longest path: the stem, every convolution
    of every block, and the classifier. Projections are not counted. `blocks` gives the
    number of residual blocks in each of the four stages.

    `params_v1` and `params_v2` are published numbers of trained values for RGB images and
    1,000 classes, moving statistics left out: v1 as in PyTorch's torchvision, v2 as in
    TensorFlow's slim. None: no such network is published.
    """

    depth: int
    blocks: tuple[int, int, int, int]
    bottleneck: bool
    params_v1: int | None = None
    params_v2: int | None = None

    @property
    def expansion(self) -> int:
        """Output channels of a block over its inner channels: 4 in a bottleneck, else 1."""
        return 4 if self.bottleneck else 1

    @property
    def inner_channels(self) -> tuple[int, int, int, int]:
        """Channels of the 3x3 convolutions, stage by stage."""
        return (64, 128, 256, 512)

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels that leave each stage."""
        return tuple(self.expansion * channels for channels in self.inner_channels)


RESNETS: dict[int, ResNetSpec] = {
    spec.depth: spec
    for spec in (
        ResNetSpec(18, (2, 2, 2, 2), bottleneck=False, params_v1=11_689_512),
        ResNetSpec(34, (3, 4, 6, 3), bottleneck=False, params_v1=21_797_672),
        ResNetSpec(50, (3, 4, 6, 3), True, params_v1=25_557_032, params_v2=25_568_360),
        ResNetSpec(101, (3, 4, 23, 3), True, params_v1=44_549_160, params_v2=44_577_896),
        ResNetSpec(152, (3, 8, 36, 3), True, params_v1=60_192_808, params_v2=60_236_904),
        ResNetSpec(200, (3, 24, 36, 3), bottleneck=True, params_v2=64_726_120),
    )
}
