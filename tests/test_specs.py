"""The table of variants; depths and parameter counts are in test_conv_arithmetic.py."""

import dataclasses

import pytest

from course_utils.specs import RESNETS, ResNetSpec


def test_the_variants_and_their_published_numbers():
    assert list(RESNETS) == [18, 34, 50, 101, 152, 200]
    assert [depth for depth, spec in RESNETS.items() if spec.bottleneck] == [50, 101, 152, 200]
    assert [depth for depth, spec in RESNETS.items() if spec.params_v1 is None] == [200]
    assert [depth for depth, spec in RESNETS.items() if spec.params_v2 is None] == [18, 34]
    assert RESNETS[50].params_v1 == 25_557_032  # torchvision's resnet50
    assert RESNETS[50].params_v2 == 25_568_360  # slim's and Keras's v2, moving values apart


def test_channels_by_hand():
    assert RESNETS[34].out_channels == RESNETS[34].inner_channels == (64, 128, 256, 512)
    assert RESNETS[152].out_channels == (256, 512, 1024, 2048)


def test_a_spec_cannot_be_changed_by_accident():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RESNETS[50].depth = 51
    assert hash(ResNetSpec(10, (1, 1, 1, 1), bottleneck=False))  # usable as a key
