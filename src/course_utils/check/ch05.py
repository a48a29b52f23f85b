"""Checkers of chapter 05: the highway layer, the carry path, the gate bias, equal cost."""

from collections.abc import Callable, Iterable
from numbers import Integral

import numpy as np

from course_utils.check.core import exercise

__all__ = ["carry_path", "gate_bias", "highway_forward", "matched_width"]

Mistakes = dict[str, Callable]


def _close(a, b) -> bool:
    """Whether two arrays or numbers have the same shape and nearly the same values."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-6, atol=1e-9, equal_nan=True)


def _recognise(got: list, cases: Iterable, mistakes: Mistakes) -> str | None:
    """Return the sentence of the first mistake that explains all answers."""
    with np.errstate(all="ignore"):  # a wrong formula may divide by zero
        for sentence, wrong in mistakes.items():
            if all(_close(one, wrong(*case)) for one, case in zip(got, cases, strict=True)):
                return sentence
    return None


def _relu(x):
    return np.where(x > 0, x, 0)


def _sigmoid(x):
    return np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))


def _softmax(z):
    parts = np.exp(z - z.max(axis=-1, keepdims=True))
    return parts / parts.sum(axis=-1, keepdims=True)


def _mix(transform: Callable, gate: Callable, carry: Callable) -> Callable:
    """A highway layer from H(z_h, x), T(z_t, x) and C(t, x), for right and wrong ones."""

    def layer(x, w_h, b_h, w_t, b_t):
        h, t = transform(x @ w_h + b_h, x), gate(x @ w_t + b_t, x)
        return h * t + x * carry(t, x)

    return layer


HIGHWAY = _mix(lambda z, x: _relu(z), lambda z, x: _sigmoid(z), lambda t, x: 1 - t)
HIGHWAY_MISTAKES: Mistakes = {
    "Your carry gate is T. It must be 1 - T, so that the two gates sum to one.": _mix(
        lambda z, x: _relu(z), lambda z, x: _sigmoid(z), lambda t, x: t
    ),
    "The input is not gated: x must be multiplied by 1 - T.": _mix(
        lambda z, x: _relu(z), lambda z, x: _sigmoid(z), lambda t, x: 1
    ),
    "The carry path x (1 - T) is missing.": _mix(
        lambda z, x: _relu(z), lambda z, x: _sigmoid(z), lambda t, x: 0
    ),
    "The sigmoid of the gate is missing, so T is not between 0 and 1.": _mix(
        lambda z, x: _relu(z), lambda z, x: z, lambda t, x: 1 - t
    ),
    "The ReLU of H is missing.": _mix(
        lambda z, x: z, lambda z, x: _sigmoid(z), lambda t, x: 1 - t
    ),
    "You take the sigmoid for H too. H is a ReLU layer.": _mix(
        lambda z, x: _sigmoid(z), lambda z, x: _sigmoid(z), lambda t, x: 1 - t
    ),
    "Your gate has a ReLU. T is a sigmoid layer.": _mix(
        lambda z, x: _relu(z), lambda z, x: _relu(z), lambda t, x: 1 - t
    ),
    "Your gate has a tanh, which goes below 0. T is a sigmoid layer.": _mix(
        lambda z, x: _relu(z), lambda z, x: np.tanh(z), lambda t, x: 1 - t
    ),
    "Your gate is a softmax. Each unit has a sigmoid of its own.": _mix(
        lambda z, x: _relu(z), lambda z, x: _softmax(z), lambda t, x: 1 - t
    ),
    "You take the ReLU around the whole sum. It belongs to H alone.": (
        lambda *case: _relu(HIGHWAY(*case))
    ),
    "T and 1 - T are exchanged: T multiplies H, and 1 - T multiplies x. If your last line "
    "does that, look at the sign in the sigmoid: it is exp(-z).": _mix(
        lambda z, x: _relu(z), lambda z, x: 1 - _sigmoid(z), lambda t, x: 1 - t
    ),
    "That is the residual block, H + x: the gates are missing.": _mix(
        lambda z, x: _relu(z), lambda z, x: 1, lambda t, x: 1
    ),
    "That is the plain layer H(x): gate and carry path are missing.": _mix(
        lambda z, x: _relu(z), lambda z, x: 1, lambda t, x: 0
    ),
    "The bias of the gate, b_t, is missing.": (
        lambda x, w_h, b_h, w_t, b_t: HIGHWAY(x, w_h, b_h, w_t, 0)
    ),
    "The bias of H, b_h, is missing.": (
        lambda x, w_h, b_h, w_t, b_t: HIGHWAY(x, w_h, 0, w_t, b_t)
    ),
    "Your kernels are transposed: the examples are rows, so it is x @ w.": (
        lambda x, w_h, b_h, w_t, b_t: HIGHWAY(x, w_h.T, b_h, w_t.T, b_t)
    ),
    "The weights of H and of the gate are exchanged.": (
        lambda x, w_h, b_h, w_t, b_t: HIGHWAY(x, w_t, b_t, w_h, b_h)
    ),
    "The gate reads the input x, not the transformed H(x).": (
        lambda x, w_h, b_h, w_t, b_t: _gate_after_transform(x, w_h, b_h, w_t, b_t)
    ),
}


def _gate_after_transform(x, w_h, b_h, w_t, b_t):
    h = _relu(x @ w_h + b_h)
    t = _sigmoid(h @ w_t + b_t)
    return h * t + x * (1 - t)


@exercise
def highway_forward(candidate) -> str | None:
    """candidate(x, w_h, b_h, w_t, b_t) is relu(x w_h + b_h) T + x (1 - T), a new array."""
    rng = np.random.default_rng(5)
    cases = []
    for batch, units in ((3, 4), (1, 3), (4, 4)):
        w_h, w_t = rng.normal(size=(2, units, units))
        b_h, b_t = rng.normal(size=(2, units))
        cases.append((rng.normal(size=(batch, units)), w_h, b_h, w_t, b_t))
    cases.append((*cases[0][:4], np.array([-12.0, 12.0, -7.0, 7.0])))  # gates shut and open
    got = []
    for case in cases:
        given = [value.copy() for value in case]
        answer = candidate(*given)
        if isinstance(answer, tuple | list):
            return f"You return {len(answer)} things. Return y alone, one array."
        got.append(np.asarray(answer, dtype=float))
        if not all(map(np.array_equal, given, case)):
            return "You changed the caller's arrays in place. Build a new one."
    right = [HIGHWAY(*case) for case in cases]
    if all(map(_close, got, right)):
        return None
    if named := _recognise(got, cases, HIGHWAY_MISTAKES):
        return named
    for one, expected in zip(got, right, strict=True):
        if one.shape != expected.shape:
            return f"Your output has the shape {one.shape}; x and y have {expected.shape}."
    return "The values differ from relu(x @ w_h + b_h) * T + x * (1 - T)."


@exercise
def carry_path(candidate) -> str | None:
    """candidate(gates) is the product over the layers of 1 - T, for each unit."""
    rng = np.random.default_rng(6)
    cases = [(rng.uniform(0, 1, shape),) for shape in ((3, 4), (5, 2), (1, 3), (3, 3))]
    cases.append((np.array([[0.5, 0.0], [0.5, 1.0]]),))
    got = [candidate(gates.copy()) for (gates,) in cases]

    def right(gates):
        factor = np.ones(gates.shape[1])
        for layer in gates:
            factor = factor * (1 - layer)
        return factor

    if all(_close(one, right(*case)) for one, case in zip(got, cases, strict=True)):
        return None
    mistakes = {
        "You multiply the transform gates. The carry path has 1 - T.": lambda g: g.prod(0),
        "You add the factors up. Through a chain of layers they multiply.": (
            lambda g: (1 - g).sum(0)
        ),
        "You take the mean. Through a chain of layers the factors multiply.": (
            lambda g: (1 - g).mean(0)
        ),
        "You multiply along the units. The product runs over the layers, axis 0.": (
            lambda g: (1 - g).prod(1)
        ),
        "You multiply everything into one number. Each unit has a path of its own.": (
            lambda g: (1 - g).prod()
        ),
        "1 - (product of T) is not the product of 1 - T: subtract first.": (
            lambda g: 1 - g.prod(0)
        ),
        "That is what the path loses. Asked is what it lets pass.": (
            lambda g: 1 - (1 - g).prod(0)
        ),
        "That is the running product. Keep its last row only.": lambda g: (1 - g).cumprod(0),
        "You keep the units' axis right, but take the last layer only.": lambda g: 1 - g[-1],
        "1 - sum of T holds only for small gates. Multiply the factors 1 - T.": (
            lambda g: 1 - g.sum(0)
        ),
        "You use the mean gate of each unit. The gates of the layers differ: multiply 1 - T.": (
            lambda g: (1 - g.mean(0)) ** len(g)
        ),
    }
    example = "For the gates [[0.5, 0], [0.5, 1]] it is [0.25, 0]"
    if named := _recognise(got, cases, mistakes):
        return f"{named} {example}."
    shape, units = np.shape(got[0]), cases[0][0].shape[1]
    if shape != (units,):
        return (
            f"For {units} units you return the shape {shape}. "
            f"Asked is one number for each unit, ({units},)."
        )
    return f"{example}; you gave {np.asarray(got[-1]).tolist()}."


@exercise
def gate_bias(candidate) -> str | None:
    """candidate(keep, num_layers) is b with (1 - sigmoid(b)) ** num_layers == keep."""
    cases = [(0.5, 1), (0.5, 10), (0.9, 50), (0.1, 3), (0.01, 2), (0.3, 1)]
    got = [np.squeeze(candidate(*case)) for case in cases]
    if got[0].size != 1:
        return f"Return one number. You returned the shape {got[0].shape}."

    def logit(p):
        return np.log(p / (1 - p))

    def right(keep, n):
        return logit(1 - keep ** (1 / n))

    wrong = [i for i, case in enumerate(cases) if not _close(got[i], right(*case))]
    if not wrong:
        return None
    mistakes = {
        "The sign is wrong: you solve for T = carry. It is T = 1 - carry.": (
            lambda k, n: -right(k, n)
        ),
        "You treat one layer only. Through n layers it is carry ** n, so take the n-th root.": (
            lambda k, n: logit(1 - k)
        ),
        "You treat one layer only, and the sign is wrong.": lambda k, n: logit(k),
        "You divide keep by the layers. Factors multiply: take the n-th root.": (
            lambda k, n: logit(1 - k / n)
        ),
        "You take the power. The carry of one layer is the n-th root of keep.": (
            lambda k, n: logit(1 - k**n)
        ),
        "You return the gate T. The bias is what goes into the sigmoid.": (
            lambda k, n: 1 - k ** (1 / n)
        ),
        "You return the carry of one layer. The bias is what goes into the sigmoid.": (
            lambda k, n: k ** (1 / n)
        ),
        "log(T) is not the inverse of the sigmoid, log(T / (1 - T)) is.": (
            lambda k, n: np.log(1 - k ** (1 / n))
        ),
        "You apply the sigmoid. Asked is its inverse, log(T / (1 - T)).": (
            lambda k, n: _sigmoid(1 - k ** (1 / n))
        ),
        "You share the loss among the layers, T = (1 - keep) / n. Factors multiply.": (
            lambda k, n: logit((1 - k) / n)
        ),
        "You take the logarithm to base 10. The sigmoid has the natural one.": (
            lambda k, n: right(k, n) / np.log(10)
        ),
        "You take the logarithm to base 2. The sigmoid has the natural one.": (
            lambda k, n: right(k, n) / np.log(2)
        ),
    }
    named = _recognise(got, cases, mistakes)
    keep, n = cases[wrong[0]]
    example = f"For keep = {keep} and {n} layers you gave {got[wrong[0]]:.4g}; "
    example += f"it is {right(keep, n):.4g}."
    return f"{named} {example}" if named else example


def _closest(wanted: int, cost: Callable) -> int:
    """Walk up until the cost passes what is wanted, and take the nearer neighbour."""
    width = 1
    while cost(width) < wanted:
        width += 1
    below, above = wanted - cost(width - 1), cost(width) - wanted
    return width - 1 if below < above else width


@exercise
def matched_width(candidate) -> str | None:
    """candidate(units): the width whose plain layer costs most nearly as much."""
    cases = [(n,) for n in (2, 3, 4, 5, 6, 7, 14, 20, 50, 61, 64, 100, 218, 256)]
    got = [np.asarray(candidate(*case))[()] for case in cases]  # a 0-d array is a number

    def plain(width):
        return width * width + width

    right = [_closest(2 * plain(n), plain) for (n,) in cases]
    if [float(one) for one in got] == right:
        whole = all(isinstance(one, Integral) for one in got)
        return None if whole else f"The value is right, but {got[0]!r} is no whole number."
    mistakes = {
        "Twice the units costs four times the parameters. Take about sqrt(2).": (
            lambda n: 2 * n
        ),
        "That is the highway layer's own width; its gate doubles the parameters.": (
            lambda n: n
        ),
        "sqrt(2) * units is not a whole number. Count the parameters and compare.": (
            lambda n: 2**0.5 * n
        ),
        "You round down: the next width may come closer.": (
            lambda n: int((0.25 + 2 * plain(n)) ** 0.5 - 0.5)
        ),
        "You round up: the width below may come closer.": (
            lambda n: int(np.ceil((0.25 + 2 * plain(n)) ** 0.5 - 0.5))
        ),
        "You round sqrt(2) * units up: the width below may come closer.": (
            lambda n: int(np.ceil(2**0.5 * n))
        ),
        "You round sqrt(2) * units down: the next width may come closer.": (
            lambda n: int(2**0.5 * n)
        ),
        "You forget the biases. Compare width ** 2 + width with 2 (units ** 2 + units).": (
            lambda n: _closest(2 * n * n, lambda width: width * width)
        ),
        "The gate has biases too: the highway layer has 2 (units * units + units).": (
            lambda n: _closest(2 * n * n + n, plain)
        ),
        "You return the number of parameters. Asked is the width.": lambda n: 2 * plain(n),
    }
    named = _recognise(got, cases, mistakes)
    i = next(i for i, one in enumerate(got) if float(one) != right[i])
    example = f"For {cases[i][0]} units you gave {got[i]}; it is {right[i]}."
    return f"{named} {example}" if named else example
