"""One line for each part of a network: its output's shape and its parameters."""

from typing import NamedTuple

import torch
from torch import nn


class SummaryLine(NamedTuple):
    """A part of a network: its name, its class, its output's shape, its trained values."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


def watch(parts, lines) -> list:
    """Let each part append its SummaryLine to `lines` when it has run; return the hooks."""

    def record(name):
        def hook(part, inputs, output):
            count = sum(p.numel() for p in part.parameters())
            lines.append(SummaryLine(name, type(part).__name__, tuple(output.shape), count))

        return hook

    return [part.register_forward_hook(record(name)) for name, part in parts.items()]


def layer_summary(model: nn.Module, x_shape, *, show=True) -> list[SummaryLine]:
    """Return (and print) the direct parts of `model` in the order in which they run.

    `x_shape` is the input's shape, such as (1, 1, 28, 28). A model that is one
    `nn.Sequential` named `net` is listed layer by layer. The model runs once, in evaluation
    mode and without gradients, so that no moving statistic changes.
    """
    parts = dict(model.named_children())
    if list(parts) == ["net"]:
        parts = dict(model.net.named_children())
    lines: list[SummaryLine] = []
    hooks = watch(parts, lines)
    was_training = {module: module.training for module in model.modules()}
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    try:
        model.eval()
        with torch.no_grad():
            model(torch.zeros(x_shape, device=device))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in was_training.items():
            module.training = training
    if show:
        for line in lines:
            print(f"{line.name:10} {line.kind:18} {line.shape!s:22} {line.parameters:>12,}")
        print(f"{'total':52} {sum(p.numel() for p in model.parameters()):>12,}")
    return lines
