"""Saving a model, and loading it where nothing of this process is left."""

import json
import subprocess
import sys

import numpy as np

LOAD = """
import json, sys
import keras, numpy as np
import course_utils.tf  # registers the layers
folder = sys.argv[1]
x, y = (np.load(f"{folder}/{name}.npy") for name in "xy")
model = keras.models.load_model(f"{folder}/model.keras")
whole = float(np.abs(model(x, training=False) - y).max())
for weight in model.weights:
    weight.assign(weight.numpy() * 0 + 7)
model.load_weights(f"{folder}/model.weights.h5")
weights = float(np.abs(model(x, training=False) - y).max())
configs = {layer.name: layer.get_config() for layer in model.layers}
trained = [len(model.trainable_weights), len(model.weights)]
print(json.dumps([whole, weights, configs, trained]))
"""


def opened_again(folder, model, x):
    """Save `model` whole and as weights, and open both in a fresh process.

    Returns how far the outputs for `x` are from those of now, for the whole model and for
    the weights, the configurations of the layers by name, and the numbers of trained and of
    all weights.
    """
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", model(x, training=False))
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    command = [sys.executable, "-c", LOAD, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])
