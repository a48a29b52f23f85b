"""One plain training loop for PyTorch, with everything that a run needs and nothing more."""

import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from course_utils.pt.layout import to_nchw
from course_utils.pt.weights import WeightsError, misfits, read_tensors, write_whole

HISTORY = ("loss", "train_accuracy", "test_loss", "test_accuracy")


class DivergedError(ArithmeticError):
    """The loss is not a number; the text names the step and the learning rate."""


def choose_device(device=None) -> torch.device:
    """Return the device given, or the best one here: cuda, then mps, then cpu."""
    if device is not None:
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def batches(images, labels, batch_size, device, order=None):
    """Yield x `[N, C, H, W]` float32 and y `[N]` int64 on `device`; the last may be smaller.

    `images` are NHWC, `order` the indices in the order of the epoch.
    """
    order = np.arange(len(images)) if order is None else order
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        y = torch.from_numpy(np.asarray(labels)[chosen])
        yield to_nchw(images[chosen]).to(device), y.to(device)


@torch.no_grad()
def evaluate(model, images, labels, *, batch_size=256, device=None):
    """Return mean cross-entropy and accuracy of `model` in evaluation mode."""
    device = choose_device(device)
    model.to(device).eval()
    loss = right = 0.0
    for x, y in batches(images, labels, batch_size, device):
        logits = model(x)
        loss += F.cross_entropy(logits, y, reduction="sum").item()
        right += (logits.argmax(1) == y).sum().item()
    return loss / len(images), right / len(images)


def check_finite(loss, step, optimizer) -> None:
    """Raise DivergedError if the loss of a step is infinite or not a number.

    Weights that the last step of an epoch spoils show in the test loss only.
    """
    if not torch.isfinite(loss):
        rate = optimizer.param_groups[0]["lr"]
        raise DivergedError(
            f"The loss is {loss.item()} at step {step} of this epoch, with a learning rate "
            f"of {rate:g}. Take a smaller learning rate, and look at the inputs."
        )


def train_epoch(model, optimizer, data, batch_size, device):
    """Run one epoch in an order drawn from PyTorch's seed; return mean loss and accuracy.

    A last batch of one image is left out: batch norm has no variance there.
    """
    model.train()
    order = torch.randperm(len(data.x_train)).numpy()
    if len(order) % batch_size == 1:
        order = order[:-1]
    loss_sum = right = 0.0
    steps = batches(data.x_train, data.y_train, batch_size, device, order)
    for step, (x, y) in enumerate(steps, start=1):
        logits = model(x)
        loss = F.cross_entropy(logits, y)
        check_finite(loss, step, optimizer)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(y)
        right += (logits.argmax(1) == y).sum().item()
    return loss_sum / len(order), right / len(order)


def run_epoch(model, optimizer, data, batch_size, device, history) -> None:
    """Train for one epoch, evaluate, and append what came out to `history`."""
    start = time.perf_counter()
    trained = train_epoch(model, optimizer, data, batch_size, device)
    tested = evaluate(model, data.x_test, data.y_test, device=device)
    for name, value in zip(HISTORY, (*trained, *tested), strict=True):
        history[name].append(value)
    history["seconds"].append(time.perf_counter() - start)


def fit(
    model: nn.Module,
    data,
    *,
    epochs,
    lr,
    batch_size=64,
    momentum=0.9,
    device=None,
    seed=0,
    progress=True,
    checkpoint=None,
) -> dict[str, list[float]]:
    """Train `model` on a `course_utils.data.Dataset` by SGD; return its history, by epoch.

    An epoch's order and dropout depend on `seed` and its number alone. With `checkpoint`, a
    path, the state is written after each epoch in one step, and a later call with the same
    settings goes on from there to the same weights as a run never stopped. `progress` shows
    a bar on a terminal and prints one line at the end.

    Raises DivergedError for a loss that is not a number, and WeightsError, the model left
    as it was, for a checkpoint that is damaged, of other settings or of a network with other
    names or shapes of weights. Another activation, or other images, pass unnoticed.
    """
    device = choose_device(device)
    optimizer = torch.optim.SGD(model.to(device).parameters(), lr=lr, momentum=momentum)
    settings = {"lr": lr, "batch_size": batch_size, "momentum": momentum, "seed": seed}
    settings |= {"training images": len(data.x_train)}
    history = resume(checkpoint, model, optimizer, settings)
    with tqdm(total=epochs, initial=len(history["loss"]), disable=not progress or None) as bar:
        for epoch in range(len(history["loss"]), epochs):
            torch.manual_seed(1_000_003 * seed + epoch)  # others in each epoch of each seed
            run_epoch(model, optimizer, data, batch_size, device, history)
            save_state(checkpoint, model, optimizer, settings, history)
            bar.update()
    if progress:
        report(history)
    return history


def report(history) -> None:
    """Print what the last epoch ended with, in one line."""
    if history["loss"]:
        print(
            f"{len(history['loss'])} epochs: training loss {history['loss'][-1]:.3f}, test "
            f"accuracy {history['test_accuracy'][-1]:.1%}, {sum(history['seconds']):.0f} s"
        )


def save_state(path, model, optimizer, settings, history) -> None:
    """Write all that the next epoch depends on, in one step; nothing if `path` is None."""
    if path is not None:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        write_whole(path, state | {"settings": settings, "history": history})


def resume(path, model, optimizer, settings) -> dict[str, list[float]]:
    """Return the history of what `save_state` wrote, loaded into model and optimizer.

    Without such a file the history is empty. Nothing is changed unless everything fits.
    """
    if path is None or not Path(path).exists():
        return {name: [] for name in (*HISTORY, "seconds")}
    state = read_tensors(path)
    parts = {"model", "optimizer", "settings", "history"}
    if not isinstance(state, dict) or not parts <= state.keys():
        raise WeightsError(f"{path} is no checkpoint of fit. Give another path.")
    old = state["settings"]
    if other := [name for name in old if settings.get(name) != old[name]]:
        differing = ", ".join(f"{k} = {old[k]} (now {settings.get(k)})" for k in other)
        raise WeightsError(
            f"The checkpoint {path} was written with {differing}. "
            "Use the same settings, or another path."
        )
    if problems := misfits(model.state_dict(), state["model"]):
        raise WeightsError(
            f"The checkpoint {path} is of another network: {'; '.join(problems)}."
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["history"]
