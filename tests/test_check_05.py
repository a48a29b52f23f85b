"""The checkers of chapter 05 accept right answers and name the mistake of wrong ones."""

import math

import numpy as np
from checker_tests import CheckerTests

CHECKERS = ["highway_forward", "carry_path", "gate_bias", "matched_width"]


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def layer(transform=relu, gate=sigmoid, carry=lambda t: 1 - t):
    """A highway layer in which one part can be replaced by a wrong one."""

    def candidate(x, w_h, b_h, w_t, b_t):
        h, t = transform(x @ w_h + b_h), gate(x @ w_t + b_t)
        return h * t + x * carry(t)

    return candidate


def layer_as_a_step(x, w_h, b_h, w_t, b_t):
    """x plus the gated difference: the same layer, written once around."""
    return x + sigmoid(x @ w_t + b_t) * (relu(x @ w_h + b_h) - x)


def layer_by_rows(x, w_h, b_h, w_t, b_t):
    y = np.empty_like(x)
    for i, row in enumerate(x):
        gate = 0.5 * (1 + np.tanh((row @ w_t + b_t) / 2))
        y[i] = np.where(row @ w_h + b_h > 0, row @ w_h + b_h, 0) * gate + row * (1 - gate)
    return y


def layer_in_place(x, w_h, b_h, w_t, b_t):
    t = sigmoid(x @ w_t + b_t)
    h = relu(x @ w_h + b_h)
    x *= 1 - t
    x += h * t
    return x


def layer_and_gate(x, w_h, b_h, w_t, b_t):
    """Return the gate too: a learner's way to look at it."""
    return layer()(x, w_h, b_h, w_t, b_t), sigmoid(x @ w_t + b_t)


def softmax(z):
    parts = np.exp(z - z.max(axis=-1, keepdims=True))
    return parts / parts.sum(axis=-1, keepdims=True)


def gate_reads_h(x, w_h, b_h, w_t, b_t):
    h = relu(x @ w_h + b_h)
    t = sigmoid(h @ w_t + b_t)
    return h * t + x * (1 - t)


def path_by_loop(gates):
    factor = 1.0
    for gate in gates:
        factor = factor * (1 - gate)
    return factor


def path_by_logarithm(gates):
    with np.errstate(divide="ignore"):
        return np.exp(np.log(1 - gates).sum(axis=0))


def bias_by_bisection(keep, num_layers):
    low, high = -50.0, 50.0
    for _ in range(100):
        middle = (low + high) / 2
        if (1 - sigmoid(middle)) ** num_layers > keep:
            low = middle
        else:
            high = middle
    return low


def logit(p):
    return np.log(p / (1 - p))


def width_by_search(units):
    wanted = 2 * (units * units + units)
    return min(range(1, 2 * units + 1), key=lambda width: abs(width * width + width - wanted))


def width_by_formula(units):
    """Round the root of w^2 + w = 2 (u^2 + u), then look at both neighbours."""
    wanted = 2 * (units**2 + units)
    root = int(((1 + 4 * wanted) ** 0.5 - 1) / 2)
    costs = {width: abs(width**2 + width - wanted) for width in (root, root + 1)}
    return min(costs, key=costs.get)


def width_near_the_root(units):
    """Right for most widths, and wrong for 20, 61 and others."""
    return round(1.414 * units + 0.25)


RIGHT = [
    ("highway_forward", layer()),
    ("highway_forward", layer_as_a_step),
    ("highway_forward", layer_by_rows),
    ("carry_path", lambda gates: np.prod(1 - gates, axis=0)),
    ("carry_path", path_by_loop),
    ("carry_path", path_by_logarithm),
    ("gate_bias", lambda keep, n: logit(1 - keep ** (1 / n))),
    ("gate_bias", lambda keep, n: np.log(keep ** (-1 / n) - 1)),
    ("gate_bias", bias_by_bisection),
    ("matched_width", width_by_search),
    ("matched_width", width_by_formula),
    ("matched_width", lambda units: np.int64(width_by_search(units))),
    ("matched_width", lambda units: np.array(width_by_search(units))),
    ("gate_bias", lambda keep, n: np.array([logit(1 - keep ** (1 / n))])),
]

WRONG = [
    ("highway_forward", layer(carry=lambda t: t), "carry gate is T"),
    ("highway_forward", layer(carry=lambda t: 1), "input is not gated"),
    ("highway_forward", layer(carry=lambda t: 0), "carry path x (1 - T) is missing"),
    ("highway_forward", layer(gate=lambda z: z), "sigmoid of the gate is missing"),
    ("highway_forward", layer(gate=relu), "gate has a ReLU"),
    ("highway_forward", layer(gate=np.tanh), "tanh"),
    ("highway_forward", layer(gate=lambda z: sigmoid(-z)), "exchanged"),
    ("highway_forward", layer(transform=lambda z: z), "ReLU of H is missing"),
    ("highway_forward", layer(transform=sigmoid), "sigmoid for H"),
    ("highway_forward", layer(gate=np.ones_like, carry=np.ones_like), "residual block"),
    ("highway_forward", lambda x, w_h, b_h, w_t, b_t: relu(x @ w_h + b_h), "plain layer"),
    ("highway_forward", lambda x, w, b, v, c: layer()(x, w, b, v, 0 * c), "b_t, is missing"),
    ("highway_forward", lambda x, w, b, v, c: layer()(x, w, 0 * b, v, c), "b_h, is missing"),
    ("highway_forward", lambda x, w, b, v, c: layer()(x, w.T, b, v.T, c), "transposed"),
    ("highway_forward", lambda x, w, b, v, c: layer()(x, v, c, w, b), "weights of H and"),
    ("highway_forward", gate_reads_h, "not the transformed"),
    ("highway_forward", layer_in_place, "in place"),
    ("highway_forward", lambda x, w, b, v, c: layer()(x, w, b, v, c).sum(0), "has the shape"),
    ("highway_forward", lambda x, w, b, v, c: 2 * layer()(x, w, b, v, c), "values differ"),
    ("highway_forward", layer(gate=lambda z: 1 / (1 + np.exp(z))), "sign in the sigmoid"),
    ("highway_forward", layer(gate=lambda z: sigmoid(np.clip(z, -6, 6))), "values differ"),
    ("highway_forward", layer(gate=softmax), "softmax"),
    ("highway_forward", lambda *args: relu(layer()(*args)), "around the whole sum"),
    ("highway_forward", layer_and_gate, "y alone"),
    ("carry_path", lambda g: np.prod(1 - g, axis=0, keepdims=True), "the shape (1, 4)"),
    ("carry_path", lambda g: np.diag((1 - g).prod(0)), "the shape (4, 4)"),
    ("carry_path", lambda g: (1 - g[1:]).prod(0), "you gave [0.5, 0.0]"),
    ("carry_path", lambda g: g.prod(0), "multiply the transform gates"),
    ("carry_path", lambda g: (1 - g).sum(0), "add the factors up"),
    ("carry_path", lambda g: (1 - g).mean(0), "take the mean"),
    ("carry_path", lambda g: (1 - g).prod(1), "along the units"),
    ("carry_path", lambda g: (1 - g).prod(), "one number"),
    ("carry_path", lambda g: 1 - g.prod(0), "subtract first"),
    ("carry_path", lambda g: 1 - (1 - g).prod(0), "loses"),
    ("carry_path", lambda g: np.cumprod(1 - g, axis=0), "running product"),
    ("carry_path", lambda g: 1 - g[-1], "last layer only"),
    ("carry_path", lambda g: 1 - g.sum(0), "small gates"),
    ("carry_path", lambda g: (1 - g.mean(0)) ** len(g), "mean gate"),
    ("carry_path", lambda g: 2 * (1 - g).prod(0), "[0.25, 0]"),
    ("gate_bias", lambda k, n: logit(k ** (1 / n)), "sign is wrong"),
    ("gate_bias", lambda k, n: logit(1 - k), "one layer only"),
    ("gate_bias", lambda k, n: logit(k), "one layer only, and the sign"),
    ("gate_bias", lambda k, n: logit(1 - k / n), "n-th root"),
    ("gate_bias", lambda k, n: logit(1 - k**n), "take the power"),
    ("gate_bias", lambda k, n: 1 - k ** (1 / n), "return the gate T"),
    ("gate_bias", lambda k, n: k ** (1 / n), "carry of one layer"),
    ("gate_bias", lambda k, n: np.log(1 - k ** (1 / n)), "not the inverse"),
    ("gate_bias", lambda k, n: sigmoid(1 - k ** (1 / n)), "apply the sigmoid"),
    ("gate_bias", lambda k, n: logit((1 - k) / n), "share the loss"),
    ("gate_bias", lambda k, n: np.log10(k ** (-1 / n) - 1), "natural"),
    ("gate_bias", lambda k, n: np.log2(k ** (-1 / n) - 1), "natural"),
    ("gate_bias", lambda k, n: np.ones(3), "one number"),
    ("gate_bias", lambda k, n: -4.0, "For keep = 0.5 and 1 layers you gave -4"),
    ("matched_width", lambda n: 2 * n, "four times"),
    ("matched_width", lambda n: n, "own width"),
    ("matched_width", lambda n: n * 2**0.5, "not a whole number"),
    ("matched_width", lambda n: int((0.25 + 2 * (n * n + n)) ** 0.5 - 0.5), "You round down"),
    ("matched_width", lambda n: int(n * 2**0.5), "You round sqrt(2) * units down"),
    ("matched_width", lambda n: round(n * 2**0.5), "biases"),
    ("matched_width", lambda n: 2 * n * (n + 1), "number of parameters"),
    ("matched_width", lambda n: float(width_by_search(n)), "no whole number"),
    ("matched_width", width_near_the_root, "For 20 units you gave 29; it is 28"),
    ("matched_width", lambda n: math.ceil(n * 2**0.5), "round sqrt(2) * units up"),
    ("matched_width", lambda n: math.ceil((0.25 + 2 * (n * n + n)) ** 0.5 - 0.5), "round up"),
    ("matched_width", lambda n: 71, "For 2 units you gave 71"),
]


class TestCheckers(CheckerTests):
    right, wrong, checkers = RIGHT, WRONG, CHECKERS


def test_the_papers_width_is_the_answer_for_fifty_units():
    assert width_by_search(50) == 71
