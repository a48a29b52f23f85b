"""Weight files in, weight files out. Only tensors are read: nothing in a file is executed."""

import os
import pickle
from pathlib import Path

import torch
from torch import nn

SHOWN = 3  # names of each kind that an error lists
COUNTER = "num_batches_tracked"  # of batch norm; nothing reads it unless momentum is None


class WeightsError(ValueError):
    """Weights that do not fit; the text names the first ones that do not."""


def write_whole(path, content) -> None:
    """`torch.save` to `path` in one step: an interrupted run leaves the old file or none."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        torch.save(content, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_tensors(path):
    """Return what `torch.save` wrote to `path`, on the CPU, if it holds data only.

    Raises FileNotFoundError, or WeightsError for a file that is damaged or that holds
    anything but tensors, numbers, strings, lists and dictionaries.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no weight file {path}.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path} is no file of plain weights: it is damaged, or holds Python objects, "
            "which are never loaded. Save model.state_dict(), not the model."
        ) from None
    except Exception as error:  # which one depends on the damaged place
        raise WeightsError(
            f"{path} cannot be read as a weight file: it is damaged or cut short "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__}). "
            "Copy or save it again."
        ) from None


def misfits(expected, found) -> list[str]:
    """Say how the tensors of `found` differ from those of `expected`, both name -> tensor."""
    shapes = [
        f"{name} {tuple(found[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    kinds = {
        "missing": [name for name in expected if name not in found],
        "extra": [name for name in found if name not in expected],
        "mis-shaped": shapes,
    }
    return [
        f"{len(names)} {kind}: "
        + ", ".join(names[:SHOWN])
        + (" and others" * (len(names) > SHOWN))
        for kind, names in kinds.items()
        if names
    ]


def load_weights(model: nn.Module, path) -> None:
    """Load a state_dict written by `torch.save` into `model`, all of it or nothing.

    Weights of a network with another number of classes or input channels do not fit.
    A file without any of batch norm's counters of batches fits: before PyTorch 0.4.1 there
    were none, and some published files still have none.
    Raises WeightsError, and leaves the model as it was, unless every name and shape fits.
    """
    found = read_tensors(path)
    if not isinstance(found, dict) or not all(map(torch.is_tensor, found.values())):
        raise WeightsError(
            f"{path} holds no state_dict, a dictionary from names to tensors. "
            "Save it with torch.save(model.state_dict(), path)."
        )
    expected = model.state_dict()
    counters = {name: expected[name] for name in expected if name.endswith(COUNTER)}
    if not any(name.endswith(COUNTER) for name in found):
        found = counters | found
    if problems := misfits(expected, found):
        raise WeightsError(f"{path} does not fit this model: " + "; ".join(problems) + ".")
    model.load_state_dict(found)


def save_weights(model: nn.Module, path) -> None:
    """Write `model.state_dict()` to `path` in one step."""
    write_whole(path, model.state_dict())
