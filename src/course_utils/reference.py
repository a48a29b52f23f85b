"""NumPy versions of what the networks are built from: plain, slow, and easy to check.

Every framework layer of the course is compared with these. Images are
`[batch, height, width, channels]` (NHWC), kernels `[height, width, in, out]` (HWIO), as
TensorFlow has them. Functions keep the dtype of their input; give float64 to be exact.

[1] Ioffe, Szegedy: Batch Normalization, 2015.
[2] He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015.
[3] He, Zhang, Ren, Sun: Identity Mappings in Deep Residual Networks, 2016.
[4] Srivastava, Greff, Schmidhuber: Highway Networks, 2015.
"""

from collections.abc import Mapping

import numpy as np

from course_utils.conv_arithmetic import output_size, resolve_padding


def relu(x: np.ndarray) -> np.ndarray:
    """Return max(x, 0), element by element."""
    return np.maximum(x, 0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), without overflow for large negative x."""
    return np.exp(-np.logaddexp(0, -x))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits into probabilities along the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def _windows(x, kernel, stride, padding, dilation, fill):
    """Pad `x` and return its kernel-sized windows, `[N, out_h, out_w, C, k, k]`."""
    k_h, k_w = kernel
    height, width = x.shape[1:3]
    out_h = output_size(height, k_h, stride, padding, dilation)
    out_w = output_size(width, k_w, stride, padding, dilation)
    rows = resolve_padding(height, k_h, stride, padding, dilation)
    cols = resolve_padding(width, k_w, stride, padding, dilation)
    x = np.pad(x, [(0, 0), rows, cols, (0, 0)], constant_values=fill)
    span = (dilation * (k_h - 1) + 1, dilation * (k_w - 1) + 1)
    windows = np.lib.stride_tricks.sliding_window_view(x, span, axis=(1, 2))
    windows = windows[:, ::stride, ::stride, :, ::dilation, ::dilation]
    return windows[:, :out_h, :out_w]


def conv2d(x, w, b=None, stride=1, padding=0, dilation=1) -> np.ndarray:
    """Convolve images `x` (NHWC) with kernels `w` (HWIO), and add `b` if given.

    `padding` is as in `conv_arithmetic.output_size`. Like every deep-learning library this
    computes a cross-correlation: the kernel is not flipped.

    Raises ValueError when the channels of `x` and `w` differ.
    """
    if x.shape[-1] != w.shape[2]:
        raise ValueError(f"x has {x.shape[-1]} channels, but the kernel takes {w.shape[2]}.")
    windows = _windows(x, w.shape[:2], stride, padding, dilation, fill=0)
    y = np.einsum("nhwcij,ijcd->nhwd", windows, w, optimize=True)
    return y if b is None else y + b


def max_pool2d(x, kernel, stride=None, padding=0) -> np.ndarray:
    """Return the largest value in each window of `x` (NHWC); padding never wins."""
    windows = _windows(x, (kernel, kernel), stride or kernel, padding, 1, fill=-np.inf)
    return windows.max(axis=(-2, -1))


def global_average_pool(x: np.ndarray) -> np.ndarray:
    """Average each channel over height and width: NHWC becomes `[batch, channels]`."""
    return x.mean(axis=(1, 2))


def batch_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and biased variance of each channel, over every axis but the last."""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes)
    return mean, ((x - mean) ** 2).mean(axis=axes)


def batch_norm(x, gamma, beta, *, mean, var, epsilon=1e-5) -> np.ndarray:
    """Normalise the last axis of `x` with the statistics given, then scale and shift.

    gamma * (x - mean) / sqrt(var + epsilon) + beta ([1], algorithm 1). For training pass
    `batch_statistics(x)`, for evaluation the moving averages.
    """
    return gamma * (x - mean) / np.sqrt(var + epsilon) + beta


def ema(values, decay: float, initial=0.0) -> np.ndarray:
    """Return the exponential moving average after each of `values` (along axis 0).

    average = decay * average + (1 - decay) * value, starting from `initial`, in float64.

    Raises ValueError unless 0 <= decay < 1.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay must be at least 0 and below 1, got {decay}.")
    average, history = initial, []
    for value in np.asarray(values, dtype=float):
        average = decay * average + (1 - decay) * value
        history.append(average)
    return np.array(history)


Params = Mapping[str, np.ndarray]


def _conv_bn(x, params: Params, index, stride=1, padding=0, epsilon=1e-5):
    """Convolution without bias, then batch norm with the stored statistics."""
    y = conv2d(x, params[f"conv{index}"], stride=stride, padding=padding)
    return _norm(y, params, f"bn{index}", epsilon)


def _norm(x, params: Params, name, epsilon=1e-5):
    gamma, beta, mean, var = (params[f"{name}.{p}"] for p in ("gamma", "beta", "mean", "var"))
    return batch_norm(x, gamma, beta, mean=mean, var=var, epsilon=epsilon)


def _shortcut(x, params: Params, stride):
    if "projection" not in params:
        return x
    y = conv2d(x, params["projection"], stride=stride)
    return _norm(y, params, "projection_bn")


def basic_block(x, params: Params, stride=1) -> np.ndarray:
    """Two 3x3 convolutions and a shortcut, in evaluation mode ([2], figure 2).

    `params` holds kernels "conv1", "conv2" and optionally "projection" (HWIO), and for each
    batch norm "bn1", "bn2", "projection_bn" the four vectors "<name>.gamma", ".beta",
    ".mean" and ".var".
    """
    residual = relu(_conv_bn(x, params, 1, stride, padding=1))
    residual = _conv_bn(residual, params, 2, padding=1)
    return relu(_shortcut(x, params, stride) + residual)


def bottleneck(x, params: Params, stride=1) -> np.ndarray:
    """1x1, 3x3, 1x1 and a shortcut, in evaluation mode ([2], figure 5, right).

    The stride sits on the 3x3 convolution. `params` as in `basic_block`, with "conv3".
    """
    residual = relu(_conv_bn(x, params, 1))
    residual = relu(_conv_bn(residual, params, 2, stride, padding=1))
    residual = _conv_bn(residual, params, 3)
    return relu(_shortcut(x, params, stride) + residual)


def preact_bottleneck(x, params: Params, stride=1) -> np.ndarray:
    """Pre-activation bottleneck in evaluation mode ([3], figure 4e), as slim has it.

    The projection reads the pre-activated input; it and "conv3" have a bias ("<name>.bias")
    and no batch norm. An identity shortcut with a stride takes every stride-th pixel.
    """
    preact = relu(_norm(x, params, "preact"))
    if "projection" in params:
        shortcut = conv2d(preact, params["projection"], params["projection.bias"], stride)
    else:
        shortcut = x[:, ::stride, ::stride]
    residual = relu(_conv_bn(preact, params, 1))
    residual = relu(_conv_bn(residual, params, 2, stride, padding=1))
    return shortcut + conv2d(residual, params["conv3"], params["conv3.bias"])


def highway(x, w_h, b_h, w_t, b_t) -> np.ndarray:
    """Highway layer y = H(x) T(x) + x (1 - T(x)) on `[batch, units]` ([4], equation 3).

    H is a ReLU layer, T a sigmoid layer; kernels are `[units, units]`.
    """
    transform = relu(x @ w_h + b_h)
    gate = sigmoid(x @ w_t + b_t)
    return transform * gate + x * (1 - gate)
