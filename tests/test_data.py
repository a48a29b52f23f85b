"""The data sets: what comes out, what is refused, and every way a download can fail."""

import dataclasses
import errno
import gzip
import hashlib
import io
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zipfile

import nbformat
import numpy as np
import pytest
import sklearn.datasets
from data_server import Reply, Server
from nbclient import NotebookClient

from course_utils import data
from course_utils.data import DataError, load_dataset, resize_images

REAL = os.environ.get("COURSE_DATA_DIR")
LINUX = sys.platform.startswith("linux")
NAMES = ("x_train", "y_train", "x_test", "y_test")


@pytest.fixture(autouse=True)
def _no_outside(monkeypatch):
    """No folder and no proxy of the machine, and no waiting."""
    for name in ("COURSE_DATA_DIR", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(data, "PAUSE", 0.0)
    monkeypatch.setattr(data, "TIMEOUT", 5.0)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def inject(monkeypatch, name, *files):
    """Let the data set `name` consist of these files."""
    source = dataclasses.replace(data.DATASETS[name], files=files)
    monkeypatch.setitem(data.DATASETS, name, source)


def below(folder):
    """All files and folders inside a folder, as relative paths."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- digits -----------------------------------------------------------------------------


def test_digits_are_what_is_promised():
    digits = load_dataset()
    assert digits.x_train.shape == (1437, 8, 8, 1)
    assert digits.x_test.shape == (360, 8, 8, 1)
    assert digits.y_train.shape == (1437,)
    assert digits.y_test.shape == (360,)
    assert digits.x_train.dtype == digits.x_test.dtype == np.float32
    assert digits.y_train.dtype == digits.y_test.dtype == np.int64
    assert digits.x_train.min() == digits.x_test.min() == 0
    assert digits.x_train.max() == digits.x_test.max() == 1
    assert digits.class_names == tuple("0123456789")
    x_train, _, _, y_test, _ = digits  # it unpacks
    assert x_train is digits.x_train
    assert y_test is digits.y_test
    assert repr(digits) == ("Dataset(1437 train and 360 test images of 8x8x1, 10 classes)")


def test_digits_are_scikit_learns_each_once_with_its_label():
    digits, expected = load_dataset(), sklearn.datasets.load_digits()
    x = np.concatenate([digits.x_train, digits.x_test]).reshape(-1, 64) * 16
    y = np.concatenate([digits.y_train, digits.y_test])
    ours, theirs = (
        np.column_stack([pixels, labels])
        for pixels, labels in ((x, y), (expected.data, expected.target))
    )
    rows_in_order = [rows[np.lexsort(rows.T)] for rows in (ours, theirs)]
    np.testing.assert_array_equal(*rows_in_order)


# The first labels, and the checksums of all labels and of the training images.
ORDER = [3, 9, 5, 2, 1, 8, 0, 6, 3, 7, 5, 8, 1, 2, 4, 7, 2, 3, 5, 1]
LABELS_SHA256 = "fc5c50d25180ddd14ff18607a4ac51fedffb3bb1b21e602782cc63f8b8f453e6"
IMAGES_SHA256 = "1cd6d6141f7920c05345ac4a6e037de058551a3938f54e26aa6389c1d2b45c2d"


def test_digits_order_is_the_same_for_ever():
    """The whole order is pinned: it must not change with NumPy, scikit-learn or a seed."""
    np.random.seed(1)  # noqa: NPY002 (the global generator must not matter)
    digits = load_dataset()
    labels = np.concatenate([digits.y_train, digits.y_test])
    assert digits.y_train[:20].tolist() == ORDER
    assert sha256(labels.astype(np.uint8)) == LABELS_SHA256
    assert sha256((digits.x_train * 16).astype(np.uint8)) == IMAGES_SHA256


@pytest.mark.parametrize("num_classes", [10, 6])
def test_every_stretch_of_digits_has_its_share_of_each_class(num_classes):
    digits = load_dataset(num_classes=num_classes)
    for y in (digits.y_train, digits.y_test):
        is_class = y[:, None] == np.arange(num_classes)
        so_far = np.cumsum(is_class, axis=0)
        share = np.arange(1, len(y) + 1)[:, None] * is_class.mean(axis=0)
        assert np.abs(so_far - share).max() < 2
        assert np.ptp(so_far[-1]) <= 0.06 * so_far[-1].mean() + 1


def test_digits_order_is_shuffled():
    y = load_dataset().y_train
    rounds = y[:1430].reshape(-1, 10)
    assert len({tuple(row) for row in rounds}) == len(rounds)
    # Behind a class comes each class about equally often, the same one less often.
    pairs = np.zeros((10, 10), int)
    np.add.at(pairs, (y[:-1], y[1:]), 1)
    assert pairs[~np.eye(10, dtype=bool)].min() > 3
    assert pairs.max() < 35


def test_calls_share_no_memory():
    first = load_dataset()
    first.x_train[:] = 7
    first.y_test[:] = 7
    second = load_dataset()
    assert second.x_train.max() == 1
    assert second.y_test[:2].tolist() != [7, 7]


def test_digits_need_no_file(tmp_path):
    load_dataset(data_dir=tmp_path / "digits need none")
    assert below(tmp_path) == []


def test_import_in_a_notebook_says_nothing():
    """A chapter must store no stderr; tqdm, which pooch imports, warns about its widgets."""
    cell = nbformat.v4.new_code_cell("from course_utils import data")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(notebook, kernel_name="python3").execute()
    assert notebook.cells[0].outputs == []


# --- Arguments --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "minst"}, "digits, mnist, fashion_mnist, cifar10, got 'minst'"),
        ({"name": None}, "digits, mnist, fashion_mnist, cifar10, got None"),
        ({"name": ["digits"]}, "digits, mnist, fashion_mnist, cifar10"),
        ({"image_size": 0}, "image_size must be a whole number of at least 1, got 0"),
        ({"image_size": -8}, "image_size .* got -8"),
        ({"image_size": 8.0}, "image_size .* got 8.0"),
        ({"image_size": (8, 8)}, r"image_size .* got \(8, 8\)"),
        ({"image_size": True}, "image_size .* got True"),
        ({"channels": 2}, r"channels must be 1 \(grey\) or 3 \(colour\), got 2"),
        ({"channels": 1.0}, "channels .* got 1.0"),
        ({"channels": None}, "channels .* got None"),
        ({"num_classes": 1}, "num_classes must be a whole number from 2 to 10, got 1"),
        ({"num_classes": 11}, "num_classes .* from 2 to 10, got 11"),
        ({"num_classes": "6"}, "num_classes .* got '6'"),
    ],
)
def test_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_dataset(**arguments)


@pytest.mark.parametrize(
    ("name", "options", "gib"),
    [
        ("mnist", {"image_size": 224}, "13.1 GiB"),
        ("cifar10", {"image_size": 96, "channels": 3}, "6.2 GiB"),
        ("digits", {"image_size": 512, "channels": 3}, "5.3 GiB"),
        ("mnist", {"image_size": 224, "num_classes": 5}, "6.5 GiB"),
    ],
)
def test_too_much_memory_is_refused_before_any_download(name, options, gib, tmp_path):
    with pytest.raises(ValueError, match=f"{gib}.*smaller image_size") as raised:
        load_dataset(name, **options, data_dir=tmp_path)
    assert f"image_size={options['image_size']}" in str(raised.value)
    assert below(tmp_path) == []


def test_six_digits_in_colour_stand_in_for_six_hand_signs():
    signs = load_dataset(num_classes=6, image_size=64, channels=3)
    assert signs.x_train.shape[1:] == signs.x_test.shape[1:] == (64, 64, 3)
    assert len(signs.x_train) + len(signs.x_test) == 1083
    assert sorted(set(signs.y_train)) == sorted(set(signs.y_test)) == list(range(6))
    assert signs.class_names == tuple("012345")
    for channel in (1, 2):
        np.testing.assert_array_equal(signs.x_train[..., channel], signs.x_train[..., 0])


def test_num_classes_keeps_images_and_labels_together():
    everything, some = load_dataset(), load_dataset(num_classes=3)
    keep = everything.y_train < 3
    np.testing.assert_array_equal(some.x_train, everything.x_train[keep])
    np.testing.assert_array_equal(some.y_train, everything.y_train[keep])
    assert 0 < keep.sum() < len(keep)


# --- Resizing ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [((8, 8), n) for n in (1, 3, 7, 8, 9, 28, 64)]
    + [((28, 28), n) for n in (5, 14, 27, 64, 224)]
    + [((32, 32), 96), ((7, 12), 9), ((1, 5), 4)],
)
def test_resizing_is_what_both_frameworks_do(old, new):
    import tensorflow as tf
    import torch

    x = np.random.default_rng(0).random((2, *old, 3), np.float32)
    ours = resize_images(x, new)
    assert ours.dtype == np.float32
    of_tf = tf.image.resize(x, (new, new), method="bilinear", antialias=False).numpy()
    of_torch = torch.nn.functional.interpolate(
        torch.from_numpy(x).permute(0, 3, 1, 2), (new, new), mode="bilinear",
        align_corners=False, antialias=False,
    ).permute(0, 2, 3, 1)  # fmt: skip
    np.testing.assert_allclose(ours, of_tf, atol=1e-5, rtol=0)
    np.testing.assert_allclose(ours, of_torch.numpy(), atol=1e-5, rtol=0)


def test_resizing_by_hand():
    x = np.array([0.0, 1.0], np.float32).reshape(1, 1, 2, 1)
    # New centres at 0.25, 0.75, 1.25, 1.75 of old pixels whose centres are 0.5 and 1.5.
    assert resize_images(x, 4)[0, 0, :, 0].tolist() == [0, 0.25, 0.75, 1]


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_resizing_other_numbers(dtype):
    x = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 1)).astype(dtype)
    expected = resize_images(x.astype(np.float32), 5)
    resized = resize_images(x, 5)
    assert resized.dtype == (np.float64 if dtype is np.float64 else np.float32)
    np.testing.assert_allclose(resized, expected, rtol=1e-5)


def test_loading_resizes_every_image_and_stays_in_range():
    small, large = load_dataset(), load_dataset(image_size=13)
    np.testing.assert_allclose(large.x_train, resize_images(small.x_train, 13), atol=1e-6)
    np.testing.assert_allclose(large.x_test, resize_images(small.x_test, 13), atol=1e-6)
    for size in (9, 11, 30, 50):
        x = load_dataset(image_size=size).x_train
        assert x.min() >= 0
        assert x.max() <= 1


# --- A small MNIST to download ----------------------------------------------------------


def zipped(arrays, save=np.savez):
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def make_arrays(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "x_train": rng.integers(0, 256, (30, 28, 28), np.uint8),
        "y_train": (np.arange(30) % 10).astype(np.uint8),
        "x_test": rng.integers(0, 256, (20, 28, 28), np.uint8),
        "y_test": (np.arange(20) % 10).astype(np.uint8),
    }


ARRAYS = make_arrays()
NPZ = zipped(ARRAYS)
CONTENT = data._content(tuple(ARRAYS[name] for name in NAMES))


def use_mnist(monkeypatch, url, content=NPZ):
    """Let "mnist" be the small one, to be had at `url` as these bytes."""
    file = data.DATASETS["mnist"].files[0]
    file = dataclasses.replace(file, url=url, sha256=sha256(content), content=CONTENT)
    inject(monkeypatch, "mnist", file)


def assert_is_small_mnist(loaded):
    expected = (ARRAYS["x_train"].astype(np.float32) / 255)[..., None]
    np.testing.assert_array_equal(loaded.x_train, expected)
    np.testing.assert_array_equal(loaded.y_test, ARRAYS["y_test"])
    assert loaded.x_test.shape == (20, 28, 28, 1)
    assert loaded.x_train.dtype == np.float32
    assert loaded.y_train.dtype == np.int64


def refusal(name, folder, file="mnist.npz"):
    """Load, expect a DataError, check its form, and return its text."""
    with pytest.raises(DataError) as raised:
        load_dataset(name, data_dir=folder)
    text = str(raised.value)
    [url] = [f.url for f in data.DATASETS[name].files if f.name == file]
    assert "\n" not in text
    assert f"from {url} " in text
    assert f"put it at {folder / file}, " in text
    assert "COURSE_DATA_DIR" in text
    # The learner sees this one paragraph, and no other exception before it.
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    assert raised.value.__cause__ is None
    return text


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_download(monkeypatch, server, tmp_path, capsys):
    use_mnist(monkeypatch, server.put("/mnist.npz", Reply(NPZ)))
    folder = tmp_path / "new" / "folder"
    assert_is_small_mnist(load_dataset("mnist", data_dir=str(folder)))
    assert below(folder) == ["mnist.npz"]
    assert (folder / "mnist.npz").read_bytes() == NPZ
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "/mnist.npz to " in said.err
    assert "%" not in said.err

    assert_is_small_mnist(load_dataset("mnist", data_dir=folder))
    assert len(server.requests) == 1
    assert capsys.readouterr().err == ""


def test_progress_bar_on_a_terminal(monkeypatch, server, tmp_path):
    use_mnist(monkeypatch, server.put("/mnist.npz", Reply(NPZ)))
    monkeypatch.setattr(sys, "stderr", Terminal())
    load_dataset("mnist", data_dir=tmp_path)
    assert "100%" in sys.stderr.getvalue()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_downloaded_file_can_be_read_by_others(monkeypatch, server, tmp_path):
    use_mnist(monkeypatch, server.put("/mnist.npz", Reply(NPZ)))
    before = os.umask(0o022)
    try:
        load_dataset("mnist", data_dir=tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "mnist.npz").stat().st_mode & 0o777 == 0o644


def test_server_is_asked_not_to_repack(monkeypatch, server, tmp_path):
    """With any other Accept-Encoding, some servers unpack a .gz file on the way."""
    use_mnist(monkeypatch, server.put("/mnist.npz", Reply(NPZ)))
    load_dataset("mnist", data_dir=tmp_path)
    [(_, headers)] = server.requests
    assert headers["Accept-Encoding"] == "identity"


def test_second_try_mends_a_short_trouble(monkeypatch, server, tmp_path):
    url = server.put("/mnist.npz", Reply(status=503), Reply(NPZ))
    use_mnist(monkeypatch, url)
    assert_is_small_mnist(load_dataset("mnist", data_dir=tmp_path))
    assert len(server.requests) == 2
    assert below(tmp_path) == ["mnist.npz"]


FAILURES = {
    "truncated": (Reply(NPZ[:5000], promised=len(NPZ)), "broke off"),
    "truncated and said so": (Reply(NPZ[:5000]), f"5,000 bytes .* not {sha256(NPZ)}"),
    "wrong checksum": (Reply(b"Please log in."), f"{sha256(b'Please log in.')}, not "),
    "empty": (Reply(b""), "the 0 bytes that came"),
    "503": (Reply(b"busy", status=503), "127.0.0.1:[0-9]+ answered 503 Service Unavailable"),
    "404": (Reply(b"gone", status=404), "answered 404 Not Found"),
    "silent": (Reply(hang_after=0), "sent nothing for 0.2 seconds"),
    "silent half way": (Reply(NPZ, parts=2, hang_after=100), "failed or broke off"),
    "says gzip": (Reply(NPZ, encoding="gzip"), "failed or broke off"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_failed_download(failure, monkeypatch, server, tmp_path):
    reply, message = FAILURES[failure]
    use_mnist(monkeypatch, server.put("/mnist.npz", reply))
    monkeypatch.setattr(data, "TIMEOUT", 0.2)
    start = time.perf_counter()
    text = refusal("mnist", tmp_path)
    assert time.perf_counter() - start < 4
    assert re.search(message, text)
    assert len(server.requests) == data.ATTEMPTS == 2
    assert below(tmp_path) == []


def test_no_network(monkeypatch, server, tmp_path):
    url = server.put("/mnist.npz", Reply(NPZ))
    server.close()  # nobody listens on its port any more
    use_mnist(monkeypatch, url)
    assert "the connection to 127.0.0.1" in refusal("mnist", tmp_path)
    assert below(tmp_path) == []


def test_proxy_that_nobody_serves(monkeypatch, server, tmp_path):
    use_mnist(monkeypatch, server.put("/mnist.npz", Reply(NPZ)))
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert "ProxyError" in refusal("mnist", tmp_path)
    assert server.requests == []
    assert below(tmp_path) == []


# --- Folders ----------------------------------------------------------------------------


def test_file_in_place_of_the_folder(monkeypatch, server, tmp_path):
    use_mnist(monkeypatch, server.put("/mnist.npz", Reply(NPZ)))
    folder = tmp_path / "taken"
    folder.write_text("a file")
    assert f"{folder} cannot be written" in refusal("mnist", folder)
    assert f"{folder / 'sub'} cannot be written" in refusal("mnist", folder / "sub")
    assert below(tmp_path) == ["taken"]
    assert folder.read_text() == "a file"
    assert server.requests == []


@pytest.mark.skipif(not LINUX, reason="/proc is Linux's")
def test_folder_that_cannot_be_made(monkeypatch, server):
    use_mnist(monkeypatch, server.put("/mnist.npz", Reply(NPZ)))
    folder = data.Path("/proc/no folder here")
    assert f"{folder} cannot be written" in refusal("mnist", folder)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_folder_without_permission(monkeypatch, server, tmp_path):
    use_mnist(monkeypatch, server.put("/mnist.npz", Reply(NPZ)))
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    assert f"{folder} cannot be written (Permission denied)" in refusal("mnist", folder)


def test_full_disk(monkeypatch, server, tmp_path):
    use_mnist(monkeypatch, server.put("/mnist.npz", Reply(NPZ)))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert "cannot be written (No space left on device)" in refusal("mnist", tmp_path)
    assert below(tmp_path) == []


def test_faster_process_that_has_the_file_open(monkeypatch, server, tmp_path):
    """Windows lets nobody replace an open file; the one that is there is as good."""
    use_mnist(monkeypatch, server.put("/mnist.npz", Reply(NPZ)))

    def locked(_, path):
        data.Path(path).write_bytes(NPZ)
        raise PermissionError(errno.EACCES, "Access is denied")

    monkeypatch.setattr(os, "replace", locked)
    assert_is_small_mnist(load_dataset("mnist", data_dir=tmp_path))


def test_which_folder(monkeypatch, tmp_path):
    """data_dir, else COURSE_DATA_DIR, else the user's cache."""
    use_mnist(monkeypatch, "http://127.0.0.1:9/mnist.npz")
    monkeypatch.setattr(data.pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setenv("HOME", str(tmp_path))

    def folder(**options):
        with pytest.raises(DataError) as raised:
            load_dataset("mnist", **options)
        return re.search("put it at (.*)/mnist.npz, ", str(raised.value))[1]

    assert folder() == str(tmp_path / "cache" / "course_utils")
    monkeypatch.setenv("COURSE_DATA_DIR", "")
    assert folder() == str(tmp_path / "cache" / "course_utils")
    monkeypatch.setenv("COURSE_DATA_DIR", "~/env")
    assert folder() == str(tmp_path / "env")
    assert folder(data_dir=tmp_path / "argument") == str(tmp_path / "argument")
    monkeypatch.chdir(tmp_path)
    assert folder(data_dir="here") == str(tmp_path / "here")


# --- Two processes, and one that is stopped ---------------------------------------------

CHILD = """
import dataclasses, sys
from course_utils import data
url, sha256, content, folder = sys.argv[1:]
source = data.DATASETS["mnist"]
file = dataclasses.replace(source.files[0], url=url, sha256=sha256, content=content)
data.DATASETS["mnist"] = dataclasses.replace(source, files=(file,))
data.ATTEMPTS = 1
print(data.load_dataset("mnist", data_dir=folder))
"""


def start_child(url, folder):
    command = [sys.executable, "-c", CHILD, url, sha256(NPZ), CONTENT, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(is_so, seconds=20):
    end = time.perf_counter() + seconds
    while not is_so():
        assert time.perf_counter() < end
        time.sleep(0.01)


def test_two_processes_at_once(server, tmp_path):
    url = server.put("/mnist.npz", Reply(NPZ, parts=3, waits_for=2))
    children = [start_child(url, tmp_path) for _ in range(2)]
    for child in children:
        out, error = child.communicate(timeout=30)
        assert child.returncode == 0, error
        assert out == "Dataset(30 train and 20 test images of 28x28x1, 10 classes)\n"
    assert len(server.requests) == 2  # so both were in the middle of it
    assert below(tmp_path) == ["mnist.npz"]
    assert (tmp_path / "mnist.npz").read_bytes() == NPZ


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_stopped_half_way_leaves_nothing(server, tmp_path):
    url = server.put("/mnist.npz", Reply(b"x" * 2**18, parts=2, hang_after=100))
    child = start_child(url, tmp_path)
    wait_until(lambda: any(path.stat().st_size for path in tmp_path.rglob("mnist.npz")))
    child.send_signal(signal.SIGINT)
    _, error = child.communicate(timeout=30)
    assert "KeyboardInterrupt" in error
    assert below(tmp_path) == []


# --- A file that is already there -------------------------------------------------------

PICKLED = ARRAYS | {"y_train": np.array([{"a": 1}] * 30, object)}
DAMAGED = bytearray(NPZ)
DAMAGED[1000] ^= 0xFF
OTHER = ARRAYS | {"x_test": ARRAYS["x_test"] ^ np.eye(28, dtype=np.uint8)}
LONG_HEADER = np.zeros(3, [(f"field {i}", "u1") for i in range(1000)])
WRONG = {
    "a pixel differs": (zipped(OTHER), "not those of the published file"),
    "another dtype": (
        zipped(ARRAYS | {"y_test": ARRAYS["y_test"].astype(np.int64)}),
        "not those of the published file",
    ),
    "another shape": (
        zipped(ARRAYS | {"x_test": ARRAYS["x_test"].reshape(20, 784)}),
        "not those of the published file",
    ),
    "an array is missing": (
        zipped({name: ARRAYS[name] for name in NAMES[:3]}),
        "y_test",
    ),
    # NumPy's own words for this one are two lines.
    "a long header": (
        zipped(ARRAYS | {"x_train": LONG_HEADER}),
        "is large and may not be safe",
    ),
    "a pickled object": (zipped(PICKLED), "holds a pickled object"),
    "a pickle": (pickle.dumps(ARRAYS), "not an .npz archive"),
    "a corrupt zip": (bytes(DAMAGED), "Bad CRC-32"),
    "a cut zip": (NPZ[:-30], "not an .npz archive, or its end is missing"),
    "text": (b"<html>Please log in.</html>", "not an .npz archive"),
    "nothing": (b"", "not an .npz archive"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_file_is_refused_and_left_alone(wrong, monkeypatch, server, tmp_path):
    content, message = WRONG[wrong]
    use_mnist(monkeypatch, server.put("/mnist.npz", Reply(NPZ)))
    path = tmp_path / "mnist.npz"
    path.write_bytes(content)
    text = refusal("mnist", tmp_path)
    assert f"{path} cannot be used and is left as it is" in text
    assert message in text
    assert "Move it away" in text
    assert path.read_bytes() == content
    assert below(tmp_path) == ["mnist.npz"]
    assert server.requests == []


def test_downloaded_pickle_is_not_run(monkeypatch, server, tmp_path):
    """Even with the right checksum, a pickled object is not read."""
    trap = np.array([Trap(str(tmp_path / "run"))] * 30, object)
    content = zipped(ARRAYS | {"y_train": trap})
    use_mnist(monkeypatch, server.put("/mnist.npz", Reply(content)), content)
    assert "holds a pickled object, which is never read" in refusal("mnist", tmp_path)
    assert below(tmp_path) == ["mnist.npz"]
    np.load(io.BytesIO(content), allow_pickle=True)["y_train"]  # the trap works
    assert (tmp_path / "run").exists()


class Trap:
    """Its pickle makes a folder when it is read."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.makedirs, (self.folder, 0o777, True)


@pytest.mark.parametrize("trouble", ["a folder", "unreadable"])
def test_file_that_cannot_be_opened(trouble, monkeypatch, server, tmp_path):
    use_mnist(monkeypatch, server.put("/mnist.npz", Reply(NPZ)))
    path = tmp_path / "mnist.npz"
    if trouble == "a folder":
        path.mkdir()
    else:
        path.write_bytes(NPZ)

        def closed(*_, **__):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(zipfile, "is_zipfile", closed)
    assert "cannot be used and is left as it is" in refusal("mnist", tmp_path)
    assert below(tmp_path) == ["mnist.npz"]


def test_damage_anywhere_is_noticed(monkeypatch, tmp_path):
    """A flipped byte either does not matter or is refused in one paragraph."""
    use_mnist(monkeypatch, "http://127.0.0.1:9/mnist.npz")
    rng = np.random.default_rng(0)
    content = zipped(ARRAYS, np.savez_compressed)
    refusals = []
    ends = [*range(80), *range(len(content) - 300, len(content))]  # headers, directory
    for place in [*ends, *rng.integers(0, len(content), 100)]:
        damaged = bytearray(content)
        damaged[place] ^= rng.integers(1, 256)
        (tmp_path / "mnist.npz").write_bytes(damaged)
        try:
            assert_is_small_mnist(load_dataset("mnist", data_dir=tmp_path))
        except DataError as error:
            refusals.append(str(error))
    assert len(refusals) > 150
    assert not any("\n" in text for text in refusals)


@pytest.mark.parametrize("how", ["stored", "compressed", "more arrays", "other order"])
def test_right_arrays_count_however_zipped(how, monkeypatch, tmp_path):
    use_mnist(monkeypatch, "http://127.0.0.1:9/mnist.npz", b"other bytes")
    contents = {
        "stored": NPZ,
        "compressed": zipped(ARRAYS, np.savez_compressed),
        "more arrays": zipped(ARRAYS | {"made_by": np.arange(3)}),
        "other order": zipped(
            {name: np.asfortranarray(ARRAYS[name]) for name in reversed(NAMES)}
        ),
    }
    (tmp_path / "mnist.npz").write_bytes(contents[how])
    assert_is_small_mnist(load_dataset("mnist", data_dir=tmp_path))
    assert (tmp_path / "mnist.npz").read_bytes() == contents[how]


def test_loading_writes_nothing(monkeypatch, tmp_path):
    """So the folder may be read-only: a folder's time changes when something is made in it."""
    use_mnist(monkeypatch, "http://127.0.0.1:9/mnist.npz")
    (tmp_path / "mnist.npz").write_bytes(NPZ)
    os.utime(tmp_path, ns=(10**18, 10**18))
    assert_is_small_mnist(load_dataset("mnist", data_dir=tmp_path))
    assert tmp_path.stat().st_mtime_ns == 10**18


# --- The real files ---------------------------------------------------------------------

# MD5 of the four files of MNIST, unpacked, as published in many places.
MNIST_MD5 = {
    "x_train": "6bbc9ace898e44ae57da46a324031adb",
    "y_train": "a25bea736e30d166cdddb491f175f624",
    "x_test": "2646ac647ad5339dbf082846283269ea",
    "y_test": "27ae3e4e09519cfbb04c329615203637",
}


def idx(array):
    """An array of bytes in the IDX format."""
    return (
        bytes([0, 0, 8, array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.tobytes()
    )


@pytest.mark.skipif(not REAL, reason="COURSE_DATA_DIR is not set: no mnist.npz to check")
def test_real_mnist(monkeypatch):
    path = data.Path(REAL) / "mnist.npz"
    if not path.exists():
        pytest.skip(f"no mnist.npz in COURSE_DATA_DIR ({REAL})")
    for name, array in zip(NAMES, data.read_npz(path), strict=True):
        assert hashlib.md5(idx(array)).hexdigest() == MNIST_MD5[name]
    monkeypatch.setenv("COURSE_DATA_DIR", REAL)
    mnist = load_dataset("mnist")
    assert mnist.x_train.shape == (60_000, 28, 28, 1)
    assert mnist.x_test.shape == (10_000, 28, 28, 1)
    assert (mnist.x_train.min(), mnist.x_train.max()) == (0, 1)
    assert mnist.y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert len(mnist.x_train) + len(mnist.x_test) == data.DATASETS["mnist"].images
    assert mnist.x_train.mean() == pytest.approx(0.1307, abs=1e-4)


def test_table_of_the_real_files():
    files = [file for source in data.DATASETS.values() for file in source.files]
    assert len(files) == 6
    for file in files:
        assert file.url.startswith("https://")
        assert file.url.endswith("/" + file.name.split("/")[-1])
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
    for value in ("name", "url", "sha256"):
        assert len({getattr(file, value) for file in files}) == len(files)
    assert data.DATASETS["digits"].images == len(sklearn.datasets.load_digits().target)
    assert all(len(source.class_names) == 10 for source in data.DATASETS.values())


@pytest.mark.pinned
def test_mnist_checksum_is_the_one_of_keras():
    """Keras downloads the same file, and has its checksum in its source."""
    import inspect

    import keras

    source = inspect.getsource(keras.datasets.mnist.load_data)
    [file] = data.DATASETS["mnist"].files
    assert file.sha256 in source
    assert file.url.rpartition("/")[0] in source


# --- Fashion-MNIST ----------------------------------------------------------------------


def packed(content):
    """gzip without the time, so that the same content has the same bytes in each process."""
    return gzip.compress(content, mtime=0)


IDX = {
    file.name: packed(idx(array))
    for file, array in zip(data.DATASETS["fashion_mnist"].files, ARRAYS.values(), strict=True)
}


def use_fashion(monkeypatch, server, contents=IDX):
    files = [
        dataclasses.replace(
            file,
            url=server.put(f"/{file.name}", Reply(contents[file.name])),
            sha256=sha256(contents[file.name]),
        )
        for file in data.DATASETS["fashion_mnist"].files
    ]
    inject(monkeypatch, "fashion_mnist", *files)
    return [file.name for file in files]


def test_fashion_mnist(monkeypatch, server, tmp_path):
    names = use_fashion(monkeypatch, server)
    fashion = load_dataset("fashion_mnist", data_dir=tmp_path)
    assert_is_small_mnist(fashion)
    assert fashion.class_names[0] == "T-shirt/top"
    assert fashion.class_names[9] == "Ankle boot"
    assert below(tmp_path) == sorted(["fashion-mnist", *names])
    again = load_dataset("fashion_mnist", data_dir=tmp_path, num_classes=4)
    assert set(again.y_train) == {0, 1, 2, 3}
    assert again.class_names == ("T-shirt/top", "Trouser", "Pullover", "Dress")
    assert len(server.requests) == 4


DAMAGED_IDX = {
    "one byte short": (
        packed(idx(ARRAYS["x_test"])[:-1]),
        "15,679 values, but its header says 15,680",
    ),
    "one byte more": (packed(idx(ARRAYS["x_test"]) + b"\0"), "15,681 values"),
    "other type": (packed(b"\0\0\x0d" + idx(ARRAYS["x_test"])[3:]), "starts with 00 00 0d"),
    "half a header": (packed(idx(ARRAYS["x_test"])[:7]), "cannot be used"),
    "a third of the sizes": (packed(idx(ARRAYS["x_test"])[:8]), "0 values"),
    "two bytes": (packed(b"\0\0"), "starts with 00 00, not"),
    "nothing": (packed(b""), "starts with"),
    "truncated gzip": (IDX["fashion-mnist/t10k-images-idx3-ubyte.gz"][:-200], "EOFError"),
    "not gzip": (idx(ARRAYS["x_test"]), "BadGzipFile"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED_IDX.values(), ids=DAMAGED_IDX)
def test_damaged_idx(content, message, monkeypatch, server, tmp_path):
    name = "fashion-mnist/t10k-images-idx3-ubyte.gz"
    use_fashion(monkeypatch, server, IDX | {name: content})
    assert message in refusal("fashion_mnist", tmp_path, name)


def test_missing_files_are_all_named(monkeypatch, server, tmp_path):
    names = use_fashion(monkeypatch, server)
    server.put(f"/{names[1]}", Reply(status=503))
    text = refusal("fashion_mnist", tmp_path, names[1])
    assert all(name in text for name in names)
    assert below(tmp_path) == ["fashion-mnist", names[0]]


def test_wrong_checksum_of_a_file_that_is_there(monkeypatch, server, tmp_path):
    names = use_fashion(monkeypatch, server)
    load_dataset("fashion_mnist", data_dir=tmp_path)
    content = packed(idx(ARRAYS["x_test"] ^ 1))  # readable, but other pixels
    (tmp_path / names[2]).write_bytes(content)
    text = refusal("fashion_mnist", tmp_path, names[2])
    assert f"its SHA-256 is not {sha256(IDX[names[2]])}" in text
    assert (tmp_path / names[2]).read_bytes() == content
    assert len(server.requests) == 4


# --- CIFAR-10 ---------------------------------------------------------------------------


def cifar_images(count, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 32, 32, 3), np.uint8), np.arange(count) % 10


def cifar_record(image, label):
    """1 byte of label, then 1,024 of red, of green and of blue, row by row."""
    planes = [[image[r, c, k] for r in range(32) for c in range(32)] for k in range(3)]
    return bytes([label, *planes[0], *planes[1], *planes[2]])


def cifar_archive(change=None):
    """The archive of five batches of two images and three test images."""
    x, y = cifar_images(13, seed=3)
    records = [cifar_record(*pair) for pair in zip(x, y, strict=True)]
    members = {
        f"data_batch_{i + 1}.bin": b"".join(records[2 * i : 2 * i + 2]) for i in range(5)
    }
    members |= {"test_batch.bin": b"".join(records[10:]), "batches.meta.txt": b"airplane\n"}
    # The true archive is not in order either.
    members = dict(sorted(members.items(), key=lambda pair: pair[0][::-1]))
    if change:
        change(members)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def use_cifar(monkeypatch, server, content):
    [file] = data.DATASETS["cifar10"].files
    url = server.put(f"/{file.name}", Reply(content))
    file = dataclasses.replace(file, url=url, sha256=sha256(content))
    inject(monkeypatch, "cifar10", file)


def test_cifar10_in_colour(monkeypatch, server, tmp_path):
    use_cifar(monkeypatch, server, cifar_archive())
    cifar = load_dataset("cifar10", channels=3, data_dir=tmp_path)
    x, y = cifar_images(13, seed=3)
    np.testing.assert_array_equal(cifar.x_train, x[:10].astype(np.float32) / 255)
    np.testing.assert_array_equal(cifar.x_test, x[10:].astype(np.float32) / 255)
    np.testing.assert_array_equal(cifar.y_train, y[:10])
    np.testing.assert_array_equal(cifar.y_test, y[10:])
    assert (cifar.class_names[0], cifar.class_names[9]) == ("airplane", "truck")
    assert below(tmp_path) == ["cifar-10-binary.tar.gz"]  # nothing is unpacked there


def test_cifar10_in_grey_is_luma(monkeypatch, server, tmp_path):
    use_cifar(monkeypatch, server, cifar_archive())
    grey = load_dataset("cifar10", data_dir=tmp_path).x_train
    x = cifar_images(13, seed=3)[0][:10] / 255
    luma = 0.299 * x[..., 0] + 0.587 * x[..., 1] + 0.114 * x[..., 2]
    assert grey.shape == (10, 32, 32, 1)
    np.testing.assert_allclose(grey[..., 0], luma, atol=1e-6)


def test_white_stays_white():
    """The three weights of the luma add up to 1, those of resizing too; none rounds above."""
    white = np.full((2, 32, 32, 3), 255, np.uint8)
    for size in (*range(1, 70), 224):
        x, _ = data._prepare(white, np.arange(2), 255, size, 1, 10)
        assert x.max() <= 1
        np.testing.assert_allclose(x, 1, atol=1e-6)


def test_loading_in_pieces_loses_no_image():
    x, y = np.arange(2500, dtype=np.uint8).reshape(-1, 1, 1) + np.zeros((5, 5), np.uint8), None
    y = np.arange(2500) % 10
    images, labels = data._prepare(x, y, 255, 5, 3, 10)
    np.testing.assert_array_equal(images[:, 4, 4, 2], x[:, 0, 0].astype(np.float32) / 255)
    np.testing.assert_array_equal(labels, y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda members: members.pop("data_batch_3.bin"), "data_batch_3.bin"),
        (lambda members: members.pop("test_batch.bin"), "test_batch.bin"),
        (lambda members: members.update({"test_batch.bin": b"\1" * 3072}), "3073"),
    ],
)
def test_incomplete_cifar10(change, message, monkeypatch, server, tmp_path):
    use_cifar(monkeypatch, server, cifar_archive(change))
    assert message in refusal("cifar10", tmp_path, "cifar-10-binary.tar.gz")


@pytest.mark.parametrize("content", [b"no archive", cifar_archive()[:-500]])
def test_damaged_cifar10(content, monkeypatch, server, tmp_path):
    use_cifar(monkeypatch, server, content)
    refusal("cifar10", tmp_path, "cifar-10-binary.tar.gz")


def test_archive_cannot_write_elsewhere(monkeypatch, server, tmp_path):
    def add_traps(members):
        members["../../outside.bin"] = b"x" * 3073
        members["/outside.bin"] = b"x" * 3073

    folder = tmp_path / "a" / "b"
    use_cifar(monkeypatch, server, cifar_archive(add_traps))
    cifar = load_dataset("cifar10", data_dir=folder)
    assert len(cifar.x_train) == 10
    assert below(tmp_path) == ["a", "a/b", "a/b/cifar-10-binary.tar.gz"]
