"""The PyTorch half of the course. Images are NCHW here; `to_nchw` brings them over."""

from course_utils.pt.batch_norm import BatchNorm
from course_utils.pt.blocks import BasicBlock, Bottleneck, Highway, PreActBottleneck
from course_utils.pt.googlenet import GoogLeNet, Inception
from course_utils.pt.layout import to_nchw
from course_utils.pt.lenet import BNLeNet, LeNet
from course_utils.pt.nin import NiN, nin_block
from course_utils.pt.resnet import ResNet, resnet18, resnet34, resnet50
from course_utils.pt.summary import layer_summary
from course_utils.pt.training import evaluate, fit
from course_utils.pt.vgg import VGG, vgg_block
from course_utils.pt.weights import load_weights, save_weights

__all__ = [
    "VGG",
    "BNLeNet",
    "BasicBlock",
    "BatchNorm",
    "Bottleneck",
    "GoogLeNet",
    "Highway",
    "Inception",
    "LeNet",
    "NiN",
    "PreActBottleneck",
    "ResNet",
    "evaluate",
    "fit",
    "layer_summary",
    "load_weights",
    "nin_block",
    "resnet18",
    "resnet34",
    "resnet50",
    "save_weights",
    "to_nchw",
    "vgg_block",
]
