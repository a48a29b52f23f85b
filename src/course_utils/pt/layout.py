"""From the NHWC arrays of `course_utils.data` to PyTorch's tensors."""

import numpy as np
import torch


def to_nchw(images) -> torch.Tensor:
    """Return images `[N, H, W, C]` (NumPy) as a tensor `[N, C, H, W]` of the same dtype.

    The tensor owns its memory. Raises ValueError unless there are four axes.
    """
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(f"to_nchw takes images [N, H, W, C], got shape {images.shape}.")
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).clone()
