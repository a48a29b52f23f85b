"""The training loop: resumed after a kill, stopped at a loss that is no number, quiet."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

from course_utils import pt
from course_utils.data import load_dataset
from course_utils.pt.training import DivergedError, choose_device
from course_utils.pt.weights import WeightsError

# A network with batch norm and dropout, on few images: everything that has a state.
NETWORK = """
import sys, torch
from torch import nn
from course_utils import pt
from course_utils.data import Dataset, load_dataset

def run(checkpoint, epochs=12):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = pt.BasicBlock(1, 4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(256, 10)
    model = nn.Sequential(*layers)
    data = load_dataset("digits", image_size=8)
    pt.fit(model, data, epochs=epochs, lr=0.05, device="cpu", seed=3, progress=False,
           checkpoint=checkpoint)
    return model.state_dict()
"""


@pytest.fixture(scope="module")
def data():
    return load_dataset("digits", image_size=8)


def small(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(pt.BasicBlock(1, 4), nn.Flatten(), nn.Linear(256, 10))


def run(model, data, **settings):
    settings = {"epochs": 1, "lr": 0.05, "device": "cpu", "progress": False} | settings
    return pt.fit(model, data, **settings)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.values(), b.values(), strict=True))


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_killed_and_resumed_ends_with_the_same_weights(tmp_path):
    checkpoint = tmp_path / "run.pt"
    code = NETWORK + "\nrun(sys.argv[1])"
    killed = subprocess.Popen([sys.executable, "-c", code, str(checkpoint)])
    namespace = {}
    exec(NETWORK, namespace)
    whole = namespace["run"](None)  # meanwhile
    while killed.poll() is None and not checkpoint.exists():
        time.sleep(0.005)
    time.sleep(0.05)  # somewhere in a later epoch
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL, "the run was too fast to be killed"
    epochs_done = len(torch.load(checkpoint, weights_only=True)["history"]["loss"])
    assert 1 <= epochs_done < 12
    resumed = namespace["run"](checkpoint)
    assert resumed.keys() == whole.keys()
    assert same(resumed, whole)


def test_history_and_learning(data):
    history = run(small(), data, epochs=3)
    assert set(history) == {
        "loss", "train_accuracy", "test_loss", "test_accuracy", "seconds",
    }  # fmt: skip
    assert all(len(values) == 3 for values in history.values())
    assert history["loss"][-1] < history["loss"][0]
    assert history["test_accuracy"][-1] > 0.8
    assert history["test_accuracy"][-1] * len(data.y_test) == pytest.approx(
        round(history["test_accuracy"][-1] * len(data.y_test))
    )


def test_seed_decides(data):
    def weights(seed):
        model = small()
        run(model, data, seed=seed)
        return model.state_dict()

    assert same(weights(1), weights(1))
    assert not same(weights(1), weights(2))


def test_diverged_run_names_step_and_rate(data):
    with pytest.raises(DivergedError, match=r"loss is (nan|inf) at step \d+ .* rate of 1e\+30"):
        run(small(), data, lr=1e30)


def test_diverged_run_leaves_the_last_checkpoint(data, tmp_path):
    path = tmp_path / "run.pt"
    model = small()
    run(model, data, checkpoint=path)
    before = path.read_bytes()
    with torch.no_grad():
        model[2].bias.fill_(float("nan"))
    pt.save_weights(model, tmp_path / "other.pt")
    broken = data_with(data, x_train=np.full_like(data.x_train, np.nan))
    with pytest.raises(DivergedError, match="step 1 "):
        run(small(), broken, epochs=2, checkpoint=path)
    assert path.read_bytes() == before


def data_with(data, **fields):
    names = ("x_train", "y_train", "x_test", "y_test", "class_names")
    values = {name: getattr(data, name) for name in names} | fields
    return type(data)(**values)


def test_more_epochs_go_on_and_no_more_epochs_change_nothing(data, tmp_path):
    path = tmp_path / "run.pt"
    straight = small()
    run(straight, data, epochs=3)
    run(small(), data, epochs=2, checkpoint=path)
    resumed = small(seed=9)  # its weights are replaced
    history = run(resumed, data, epochs=3, checkpoint=path)
    assert len(history["loss"]) == 3
    assert same(straight.state_dict(), resumed.state_dict())
    before = path.read_bytes()
    again = small(seed=9)
    assert run(again, data, epochs=3, checkpoint=path) == history
    assert same(again.state_dict(), straight.state_dict())
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["run.pt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.1}, r"written with lr = 0.05 \(now 0.1\)"),
        ({"seed": 5}, r"written with seed = 0 \(now 5\)"),
    ],
)
def test_checkpoint_of_other_settings_is_refused(change, message, data, tmp_path):
    path = tmp_path / "run.pt"
    run(small(), data, checkpoint=path)
    model = small()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with pytest.raises(WeightsError, match=message):
        run(model, data, checkpoint=path, **change)
    assert same(model.state_dict(), before)


def test_checkpoint_of_another_network_is_refused(data, tmp_path):
    path = tmp_path / "run.pt"
    run(small(), data, checkpoint=path)
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(
        WeightsError, match=r"of another network: 2 missing: 1.weight, 1.bias; "
    ):
        run(other, data, checkpoint=path)


@pytest.mark.parametrize("content", [b"", b"not a file of torch", None])
def test_damaged_checkpoint_is_refused_and_kept(content, data, tmp_path):
    path = tmp_path / "run.pt"
    run(small(), data, checkpoint=path)
    content = path.read_bytes()[:-500] if content is None else content
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"run.pt (cannot be read|is no file)"):
        run(small(), data, checkpoint=path)
    assert path.read_bytes() == content


def test_quiet_where_there_is_no_terminal(data, capsys):
    run(small(), data, progress=True)
    said = capsys.readouterr()
    assert said.err == ""
    assert len(said.out.splitlines()) == 1
    run(small(), data, progress=False)
    assert capsys.readouterr() == ("", "")


def test_last_batch_of_one_is_left_out(data):
    few = data_with(data, x_train=data.x_train[:65], y_train=data.y_train[:65])
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10))
    run(model, few, batch_size=64)
    assert model[1].num_batches_tracked == 1


def test_evaluation_does_not_depend_on_the_batch_size(data):
    model = small().train()
    results = [
        pt.evaluate(model, data.x_test, data.y_test, batch_size=n, device="cpu")
        for n in (1, 7, 1000)
    ]
    assert all(r == pytest.approx(results[0], rel=1e-5) for r in results)


def test_device_is_chosen_or_given():
    assert choose_device("cpu") == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device().type in (expected, "mps")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.pop("history"), "no checkpoint of fit"),
        (lambda state: state["settings"].update(nesterov=True), "nesterov = True"),
    ],
)
def test_checkpoint_of_another_version_is_refused(spoil, message, data, tmp_path):
    path = tmp_path / "run.pt"
    run(small(), data, checkpoint=path)
    state = torch.load(path, weights_only=True)
    spoil(state)
    torch.save(state, path)
    with pytest.raises(WeightsError, match=message):
        run(small(), data, checkpoint=path)
