"""The checkers of chapter 02 accept right answers and name the mistake of wrong ones."""

import numpy as np
from checker_tests import CheckerTests

CHECKERS = ["residual_forward", "needs_projection", "gradient_factor", "start_as_identity"]


def relu(x):
    return np.maximum(x, 0)


def residual_by_where(x, f):
    y = f(x) + x
    return np.where(y < 0, 0.0, y)


def residual_in_place_on_a_copy(x, f):
    y = x.copy()
    y += f(x)
    y[y < 0] = 0
    return y


def residual_in_place(x, f):
    x += f(x)
    return relu(x)


def relu_in_place(x, f):
    np.maximum(x, 0, out=x)
    return relu(x + f(x))


def adds_to_the_branch(x, f):
    y = f(x)
    y += x
    return np.maximum(y, 0, out=y)


def projection_half_written(in_channels, out_channels, stride):
    if stride != 1 or in_channels != out_channels:
        return True


def projection_by_if(in_channels, out_channels, stride):
    if stride > 1:
        return True
    return in_channels != out_channels


def factor_by_loop(w, num_blocks, skip):
    factor = 1.0
    for _ in range(num_blocks):
        factor *= w + int(skip)
    return factor


def zeroed(*names, **others):
    """A candidate that copies and sets these vectors to zero, others to the value given."""

    def candidate(params):
        changed = dict(params)
        for name in names:
            changed[name] = np.zeros_like(params[name])
        for name, value in others.items():
            changed[name] = np.full_like(params[name], value)
        return changed

    return candidate


def start_with_lists(params):
    zeros = [0.0] * len(params["bn2.gamma"])
    return params | {"bn2.gamma": zeros, "bn2.beta": zeros}


def start_by_deep_copy(params):
    copied = {name: value.copy() for name, value in params.items()}
    copied["bn2.gamma"] *= 0
    copied["bn2.beta"][:] = 0
    return copied


def start_in_place(params):
    params["bn2.gamma"][:] = 0
    params["bn2.beta"][:] = 0
    return params


def start_in_the_callers_dictionary(params):
    params["bn2.gamma"] = params["bn2.beta"] = np.zeros_like(params["bn2.beta"])
    return params


RIGHT = [
    ("residual_forward", lambda x, f: relu(x + f(x))),
    ("residual_forward", residual_by_where),
    ("residual_forward", residual_in_place_on_a_copy),
    ("needs_projection", lambda i, o, s: s != 1 or i != o),
    ("needs_projection", lambda i, o, s: not (s == 1 and i == o)),
    ("needs_projection", lambda i, o, s: np.bool_((i, s) != (o, 1))),
    ("needs_projection", projection_by_if),
    ("gradient_factor", lambda w, n, skip: (1 + w) ** n if skip else w**n),
    ("gradient_factor", factor_by_loop),
    ("gradient_factor", lambda w, n, skip: np.prod([w + skip] * n)),
    ("start_as_identity", zeroed("bn2.gamma", "bn2.beta")),
    ("start_as_identity", start_by_deep_copy),
    ("start_as_identity", start_with_lists),
    ("start_as_identity", zeroed("bn2.gamma", "bn2.beta", "bn2.mean", **{"bn2.var": 1})),
]

WRONG = [
    ("residual_forward", lambda x, f: x + f(x), "ReLU after the sum is missing"),
    ("residual_forward", lambda x, f: x + relu(f(x)), "before the sum"),
    ("residual_forward", lambda x, f: relu(x) + relu(f(x)), "to x and to the branch"),
    ("residual_forward", lambda x, f: relu(x) + f(x), "to x before the sum"),
    ("residual_forward", lambda x, f: relu(f(x)), "plain block"),
    ("residual_forward", lambda x, f: f(x), "branch alone"),
    ("residual_forward", lambda x, f: relu(x), "the branch is not"),
    ("residual_forward", lambda x, f: relu(f(x) - x), "subtract x"),
    ("residual_forward", lambda x, f: relu(x - f(x)), "subtract the branch"),
    ("residual_forward", lambda x, f: relu(x * f(x)), "multiply"),
    ("residual_forward", lambda x, f: relu(np.concatenate([x, f(x)], -1)), "concatenate"),
    ("residual_forward", residual_in_place, "in place"),
    ("residual_forward", relu_in_place, "in place"),
    ("residual_forward", lambda x, f: relu(x + 2 * f(x)), "differ from relu"),
    ("residual_forward", adds_to_the_branch, "in place"),
    ("residual_forward", lambda x, f: np.max(x + f(x), 0), "shape (3,), x has (4, 3)"),
    ("residual_forward", lambda x, f: np.max(x + f(x), 0), "np.maximum compares"),
    ("residual_forward", lambda x, f: relu(x + f(x)).ravel(), "shape (12,), x has (4, 3)"),
    ("residual_forward", lambda x, f: relu(x + f(x)).tolist(), "an array, you gave a list"),
    ("residual_forward", lambda x, f: "relu", "an array, you gave a str"),
    ("needs_projection", lambda i, o, s: i != o, "channels only"),
    ("needs_projection", lambda i, o, s: s != 1, "stride only"),
    ("needs_projection", lambda i, o, s: s != 1 and i != o, "`or`"),
    ("needs_projection", lambda i, o, s: s == 1 and i == o, "other way round"),
    ("needs_projection", lambda i, o, s: s != 1 or i < o, "fewer output channels"),
    ("needs_projection", lambda i, o, s: s != 1 or i > o, "more output channels"),
    ("needs_projection", lambda i, o, s: s == 2 or i != o, "stride 2 only"),
    ("needs_projection", lambda i, o, s: s != 1 or i not in (1, o), "broadcast"),
    ("needs_projection", lambda i, o, s: "yes" if i != o else "no", "True or False"),
    ("needs_projection", lambda i, o, s: i != o or s - 1, "True or False, you gave 0"),
    ("needs_projection", lambda i, o, s: int((i, s) != (o, 1)), "True or False, you gave 1"),
    ("needs_projection", lambda i, o, s: np.array([i != o]), "True or False, you gave array"),
    ("needs_projection", projection_half_written, "returned None for some inputs"),
    ("needs_projection", lambda i, o, s: True, "From 16 to 16 channels with stride 1"),
    ("gradient_factor", lambda w, n, skip: w**n, "leave the shortcut out"),
    ("gradient_factor", lambda w, n, skip: (1 + w) ** n, "in both cases"),
    ("gradient_factor", lambda w, n, skip: w**n if skip else (1 + w) ** n, "exchanged"),
    ("gradient_factor", lambda w, n, skip: 1 + w**n if skip else w**n, "once"),
    ("gradient_factor", lambda w, n, skip: n * (1 + w) if skip else n * w, "multiplies"),
    ("gradient_factor", lambda w, n, skip: 1 + n * w if skip else w**n, "all terms"),
    ("gradient_factor", lambda w, n, skip: abs(w + skip) ** n, "sign"),
    ("gradient_factor", lambda w, n, skip: w + skip, "of one block"),
    ("gradient_factor", lambda w, n, skip: (w + skip) ** (n + 1), "8 blocks and skip=True"),
    ("gradient_factor", lambda w, n, skip: (w + skip) ** (n - 1), "one block too few"),
    ("gradient_factor", lambda w, n, skip: 1 + w if skip else w**n, "power is missing"),
    ("gradient_factor", lambda w, n, skip: (1 + w) ** n if skip else w, "power is missing"),
    ("gradient_factor", lambda w, n, skip: np.array([(w + skip) ** n]), "array of shape (1,)"),
    ("gradient_factor", lambda w, n, skip: [(w + skip) ** n], "one number, you gave a list"),
    ("gradient_factor", lambda w, n, skip: "(1 + w)^n", "one number, you gave a str"),
    ("start_as_identity", zeroed("bn2.gamma"), '"bn2.beta": set it to zero'),
    ("start_as_identity", zeroed("bn2.beta"), '"bn2.gamma" still lets'),
    ("start_as_identity", zeroed("bn2.beta", **{"bn2.gamma": 1}), "gamma = 1"),
    ("start_as_identity", zeroed("bn1.gamma", "bn1.beta"), 'You changed "bn1'),
    ("start_as_identity", zeroed("conv2"), 'You changed "conv2"'),
    ("start_as_identity", zeroed("bn2.mean"), "does not return zero"),
    ("start_as_identity", zeroed("bn2.beta", **{"bn2.var": np.inf}), "In training"),
    ("start_as_identity", zeroed("bn2.beta", **{"bn2.gamma": 1e-9}), '"bn2.gamma" still lets'),
    ("start_as_identity", zeroed("bn2.gamma", **{"bn2.beta": 1e-13}), '"bn2.beta": set it'),
    ("start_as_identity", lambda params: params | {"bn2.gamma": 0, "bn2.beta": 0}, "shape ()"),
    ("start_as_identity", lambda p: p | {"bn2.gamma": np.zeros(1)}, "shape (1,), it had (2,)"),
    ("start_as_identity", lambda p: p | {"bn2.gamma": None}, "shape (), it had (2,)"),
    ("start_as_identity", start_in_place, "in place"),
    ("start_as_identity", start_in_the_callers_dictionary, "in place"),
    ("start_as_identity", lambda params: {"bn2.gamma": np.zeros(2)}, "is missing"),
    ("start_as_identity", lambda params: params["bn2.gamma"] * 0, "dictionary"),
    ("start_as_identity", dict, "does not return zero"),
]


class TestCheckers(CheckerTests):
    right, wrong, checkers = RIGHT, WRONG, CHECKERS
