"""The PyTorch half of the course. Images are NCHW here; `to_nchw` brings them over."""

from course_utils.pt.batch_norm import BatchNorm
from course_utils.pt.blocks import BasicBlock, Bottleneck, Highway, PreActBottleneck

__all__ = ["BasicBlock", "BatchNorm", "Bottleneck", "Highway", "PreActBottleneck"]
