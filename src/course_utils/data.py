"""The data sets of the chapters: NumPy in, NumPy out, no framework.

digits         1,797 handwritten digits of 8x8 pixels [1]; scikit-learn has them inside
mnist          70,000 handwritten digits of 28x28 pixels [2]
fashion_mnist  70,000 pieces of clothing of 28x28 pixels [3]
cifar10        60,000 photos of 32x32 pixels in colour [4], the binary version

All but digits are downloaded once. A file counts only if its SHA-256 is the known one, and
nothing is ever unpickled: a pickle can run any code.

[1] Alpaydin, Kaynak: Optical Recognition of Handwritten Digits, UCI, 1998; its test part.
[2] LeCun, Cortes, Burges: The MNIST database of handwritten digits, 1998.
[3] Xiao, Rasul, Vollgraf: Fashion-MNIST, 2017.
[4] Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009.
"""

import gzip
import hashlib
import os
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
from requests.exceptions import HTTPError, RequestException, Timeout

with warnings.catch_warnings():  # a notebook has no use for tqdm's advice on its widgets
    warnings.filterwarnings("ignore", message="IProgress not found")
    import pooch

TIMEOUT = 30.0  # seconds without a byte from the server
ATTEMPTS, PAUSE = 2, 1.0  # tries of a download, seconds between them
# The result in float32. Another copy of it, in a framework's layout, then still fits into
# the 12 GiB of a free Colab machine.
LIMIT_GIB = 4.0
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # red, green, blue in ITU-R BT.601


class DataError(RuntimeError):
    """A file of a data set is missing, damaged or not the right one."""


class Dataset(NamedTuple):
    """Images [N, H, W, C] float32 from 0 to 1, labels [N] int64, and the classes' names."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]

    def __repr__(self) -> str:
        height, width, channels = self.x_train.shape[1:]
        return (
            f"Dataset({len(self.x_train)} train and {len(self.x_test)} test images of "
            f"{height}x{width}x{channels}, {len(self.class_names)} classes)"
        )


# --- Reading files ----------------------------------------------------------------------


def read_npz(path: Path) -> tuple[np.ndarray, ...]:
    """Read (x_train, y_train, x_test, y_test) from an .npz archive with these names."""
    if not zipfile.is_zipfile(path):
        raise ValueError("it is not an .npz archive, or its end is missing")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return tuple(np.asarray(archive[name]) for name in Dataset._fields[:4])
    except ValueError as error:
        if "allow_pickle=False" in str(error):
            raise ValueError("it holds a pickled object, which is never read") from None
        raise


def read_idx(path: Path) -> tuple[np.ndarray]:
    """Read one array of bytes in the IDX format of [2], gzipped.

    Two zero bytes, the type (8: unsigned bytes), the number of axes, the length of each as
    a big-endian 32-bit number, then the values.
    """
    content = gzip.decompress(path.read_bytes())
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(f"it starts with {content[:3].hex(' ')}, not with 00 00 08")
    header = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:header], ">u4")
    values = np.frombuffer(content[header:], np.uint8)
    if len(values) != shape.prod():
        raise ValueError(f"it has {len(values):,} values, but its header says {shape.prod():,}")
    return (values.reshape(shape),)


def read_cifar(path: Path) -> tuple[np.ndarray, ...]:
    """Read (x_train, y_train, x_test, y_test) from the binary archive of [4].

    An image is 3,073 bytes: its label, then its red, green and blue plane, row by row.
    Nothing is unpacked to disk.
    """
    with tarfile.open(path, "r:gz") as archive:
        batches = {
            Path(member.name).name: archive.extractfile(member).read()
            for member in archive
            if member.isfile() and member.name.endswith(".bin")
        }
    train = b"".join(batches[f"data_batch_{i}.bin"] for i in range(1, 6))
    arrays = []
    for part in (train, batches["test_batch.bin"]):
        rows = np.frombuffer(part, np.uint8).reshape(-1, 3073)
        arrays += [rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0]]
    return tuple(arrays)


def read_digits() -> tuple[np.ndarray, ...]:
    """Take the digits out of scikit-learn: 1,437 to train with, 360 to test with."""
    from sklearn.datasets import load_digits  # slow to import, so only where it is needed

    digits = load_digits()
    order = spread_classes(digits.target)
    x, y = digits.images[order], digits.target[order]
    return x[360:], y[360:], x[:360], y[:360]


def spread_classes(labels: np.ndarray) -> np.ndarray:
    """Return a fixed random order [N] in which every stretch has its share of each class.

    The n images of a class are shuffled, and one is put at a random place in each n-th of
    the order. NumPy promises the same raw bits of PCG64 for ever, which it does not of its
    shuffle.
    """
    bits = np.random.PCG64(0).random_raw(2 * len(labels)) >> np.uint64(11)
    place, shuffle = bits.reshape(2, -1) / 2.0**53  # from 0 to 1
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        rank = np.argsort(np.argsort(shuffle[of_class]))
        place[of_class] = (rank + place[of_class]) / len(of_class)
    return np.argsort(place)


# --- Where they come from ---------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """A file to download: its name in the data folder, and how to check and read it.

    `content` is the SHA-256 of what `read` returns. With it, a file that is already there
    counts by its arrays, because the same arrays can be zipped in many ways.
    """

    name: str
    url: str
    sha256: str
    read: Callable[[Path], tuple[np.ndarray, ...]]
    content: str | None = None


@dataclass(frozen=True)
class Source:
    """A data set: its classes, how many images of how many pixels a side, what is white.

    Its files hold, one after the other, x_train, y_train, x_test and y_test.
    """

    class_names: tuple[str, ...]
    images: int
    size: int
    white: int = 255
    files: tuple[File, ...] = ()


DIGITS = tuple("0123456789")
CLOTHES = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
THINGS = "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"
MNIST = File(
    "mnist.npz",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    read_npz,
    content="47510164af9e915b85ff5c4079de0537fd7ff4c9896c45daecb9acb218a75680",
)
FASHION_URL = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/"
    "b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/"
)
FASHION_SHA256 = {
    "train-images-idx3": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
FASHION = tuple(
    File(f"fashion-mnist/{name}-ubyte.gz", f"{FASHION_URL}{name}-ubyte.gz", sha256, read_idx)
    for name, sha256 in FASHION_SHA256.items()
)
CIFAR = File(
    "cifar-10-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    read_cifar,
)

DATASETS: dict[str, Source] = {
    "digits": Source(DIGITS, images=1_797, size=8, white=16),
    "mnist": Source(DIGITS, images=70_000, size=28, files=(MNIST,)),
    "fashion_mnist": Source(tuple(CLOTHES.split(",")), 70_000, size=28, files=FASHION),
    "cifar10": Source(tuple(THINGS.split(",")), images=60_000, size=32, files=(CIFAR,)),
}


# --- Getting them -----------------------------------------------------------------------


def _error(what: str, file: File, path: Path) -> DataError:
    """Say in one paragraph what happened, what to get, from where, and where to put it."""
    files = next((s.files for s in DATASETS.values() if file in s.files), ())
    others = ", ".join(other.name for other in files if other != file)
    also = f" The same goes for {others}." if others else ""
    text = (
        f"{what} Get {path.name} from {file.url} and put it at {path}, or name another "
        f"folder with data_dir or COURSE_DATA_DIR.{also} "
        'load_dataset("digits") needs no file.'
    )
    return DataError(" ".join(text.splitlines()))


def _download_once(file: File, path: Path) -> None:
    """Bring the file to `path`, whole and checked, or raise and leave nothing there.

    It grows in a folder of its own, so two processes do not meet: the later one puts the
    same bytes in place of the earlier one's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=path.parent) as folder:
        growing = Path(folder) / path.name
        # "identity": a server that unpacks .gz on the way would change the bytes.
        pooch.HTTPDownloader(
            progressbar=sys.stderr.isatty(),
            chunk_size=2**16,
            timeout=TIMEOUT,
            headers={"Accept-Encoding": "identity"},
        )(file.url, growing, None)
        if (sha256 := pooch.file_hash(growing)) != file.sha256:
            size = growing.stat().st_size
            raise ValueError(
                f"the {size:,} bytes that came have SHA-256 {sha256}, not {file.sha256} "
                "(broken off, or a login page of the network)"
            )
        os.replace(growing, path)


def _download(file: File, path: Path) -> None:
    host = urlsplit(file.url).netloc
    print(f"Downloading {file.url} to {path}", file=sys.stderr)
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE if attempt else 0)
        try:
            return _download_once(file, path)
        except HTTPError as error:
            reason = f"{host} answered {error.response.status_code} {error.response.reason}"
        except Timeout:
            reason = f"{host} sent nothing for {TIMEOUT:g} seconds"
        except RequestException as error:
            kind = type(error).__name__
            reason = f"the connection to {host} failed or broke off ({kind})"
        except ValueError as error:
            reason = str(error)
        except OSError as error:
            if os.path.exists(path):  # another process was faster; Windows locks its file
                return None
            what = f"{path.parent} cannot be written ({error.strerror or error})."
            raise _error(what, file, path) from None
    raise _error(f"{path.name} could not be downloaded: {reason}.", file, path)


def _content(arrays: tuple[np.ndarray, ...]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _read(file: File, folder: Path) -> tuple[np.ndarray, ...]:
    """Read a file of the data folder, downloaded first if it is not there.

    A file that is there is never changed. A wrong one is refused.
    """
    path = folder / file.name
    if not os.path.exists(path):
        _download(file, path)
    try:
        if not file.content and pooch.file_hash(path) != file.sha256:
            raise ValueError(f"its SHA-256 is not {file.sha256}")
        arrays = file.read(path)
        if file.content and _content(arrays) != file.content:
            raise ValueError("its arrays are not those of the published file")
    except Exception as error:  # damaged bytes make the readers fail in many ways
        reason = f"{error}" if type(error) is ValueError else f"{type(error).__name__}: {error}"
        what = f"{path} cannot be used and is left as it is: {reason}. Move it away first."
        raise _error(what, file, path) from None
    return arrays


# --- From bytes to images ---------------------------------------------------------------


def _weights(size: int, new_size: int) -> np.ndarray:
    """Return what each old pixel counts for each new one, [new_size, size]."""
    # Pixel i has its centre at i + 0.5. Beyond the outermost centres the edge repeats.
    place = (np.arange(new_size) + 0.5) * size / new_size - 0.5
    place = np.clip(place, 0, size - 1)
    # An old pixel counts less with its distance, from one pixel on nothing.
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(size)))


def resize_images(x: np.ndarray, image_size: int) -> np.ndarray:
    """Resize images [N, H, W, C] to [N, image_size, image_size, C], as floats.

    Bilinear with half-pixel centres and no anti-aliasing: what tf.image.resize does, and
    torch's interpolate with mode="bilinear", align_corners=False.
    """
    dtype = np.result_type(x, np.float32)  # whole numbers could not hold the weights
    rows, columns = (_weights(n, image_size).astype(dtype) for n in x.shape[1:3])
    planes = np.ascontiguousarray(np.moveaxis(x, -1, 1))  # [N, C, H, W]
    return np.moveaxis(rows @ planes @ columns.T, 1, -1)


def _prepare(x, y, white: int, size: int, channels: int, num_classes: int):
    """Turn images and labels as they are stored into what `load_dataset` promises."""
    keep = y < num_classes
    x, y = x[keep], y[keep].astype(np.int64)
    images = np.empty((len(x), size, size, channels), np.float32)
    for start in range(0, len(x), 1000):  # in pieces: no second array of the full size
        piece = x[start : start + 1000].astype(np.float32) / white
        piece = piece if piece.ndim == 4 else piece[..., None]
        if piece.shape[-1] > channels:
            piece = piece @ LUMA[:, None]
        if piece.shape[1] != size:
            piece = resize_images(piece, size)
        images[start : start + 1000] = piece  # grey becomes colour by repeating
    return images, y


def _check(name: str, value, allowed: range | tuple, expected: str) -> None:
    if type(value) is not int or value not in allowed:
        raise ValueError(f"{name} must be {expected}, got {value!r}.")


def _check_memory(name: str, images: float, size: int, channels: int) -> None:
    gib = images * size * size * channels * 4 / 2**30
    if gib > LIMIT_GIB:
        raise ValueError(
            f"{name} with image_size={size} and channels={channels} would fill {gib:.1f} GiB, "
            f"more than the {LIMIT_GIB:g} allowed. Take a smaller image_size or num_classes, "
            "or load small images and use resize_images on each batch."
        )


def load_dataset(
    name: str = "digits",
    *,
    image_size: int | None = None,
    channels: int = 1,
    num_classes: int | None = None,
    data_dir: str | os.PathLike | None = None,
) -> Dataset:
    """Load the data set of this name in DATASETS, downloaded if need be.

    Returns images [N, H, W, C] as float32 from 0 (black) to 1 (white), labels [N] as int64.
    digits come in a fixed random order, 1,437 to train with and 360 to test with, every
    stretch with its share of each class. The others keep the order of their files.

    image_size: height and width in pixels, by `resize_images`; None keeps them.
    channels: 1 is grey, colour turned into its luma; 3 is colour, grey repeated.
    num_classes: keep so many classes, the first ones; None keeps all.
    data_dir: the folder of the files; None takes COURSE_DATA_DIR from the environment,
        else the user's cache folder.

    Raises ValueError for a wrong argument or a result above LIMIT_GIB, DataError if a file
    cannot be had or is not the published one.
    """
    if name not in list(DATASETS):
        raise ValueError(f"name must be one of {', '.join(DATASETS)}, got {name!r}.")
    source = DATASETS[name]
    classes = len(source.class_names)
    size = source.size if image_size is None else image_size
    keep = classes if num_classes is None else num_classes
    _check("image_size", size, range(1, sys.maxsize), "a whole number of at least 1")
    _check("channels", channels, (1, 3), "1 (grey) or 3 (colour)")
    _check("num_classes", keep, range(2, classes + 1), f"a whole number from 2 to {classes}")
    _check_memory(name, source.images * keep / classes, size, channels)

    folder = data_dir or os.environ.get("COURSE_DATA_DIR") or pooch.os_cache("course_utils")
    folder = Path(os.path.expanduser(folder)).absolute()
    arrays = [a for f in source.files for a in _read(f, folder)] or read_digits()
    train = _prepare(*arrays[:2], source.white, size, channels, keep)
    test = _prepare(*arrays[2:], source.white, size, channels, keep)
    return Dataset(*train, *test, source.class_names[:keep])
