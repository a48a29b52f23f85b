"""The checkers of chapter 14 accept right answers and name the mistake of wrong ones."""

import re

from checker_tests import CheckerTests, rows

CHECKERS = ["slim_name", "prefix_of", "compare_tables"]
RENAMED = {"kernel": "weights", "bias": "biases"}


def name_by_join(scope, layer, variable):
    return "/".join([scope, *layer.split("."), RENAMED.get(variable, variable)])


def name_by_branches(scope, layer, variable):
    if variable == "kernel":
        variable = "weights"
    elif variable == "bias":
        variable = "biases"
    return f"{scope}/{layer.replace('.', '/')}/{variable}"


def prefix_by_last_part(file_name):
    stem, _, last = file_name.rpartition(".")
    ours = last in ("index", "meta") or re.fullmatch(r"data-\d+-of-\d+", last)
    return stem if ours else file_name


def prefix_without_a_look_at_the_digits(file_name):
    stem, _, last = file_name.rpartition(".")
    return stem if last in ("index", "meta") or last.startswith("data-") else file_name


def prefix_by_pattern(file_name):
    return re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", file_name)


def is_noise(name):
    return name == "global_step" or name.endswith("/Momentum")


def compare_by_sets(expected, found):
    found = {n: tuple(s) for n, s in found.items() if not is_noise(n)}
    return (
        sorted(expected.keys() - found.keys()),
        sorted(found.keys() - expected.keys()),
        sorted(n for n in expected.keys() & found.keys() if tuple(expected[n]) != found[n]),
    )


def compare_by_loops(expected, found):
    missing, extra, other = [], [], []
    for name in sorted({*expected, *found}):
        if is_noise(name):
            continue
        if name not in found:
            missing.append(name)
        elif name not in expected:
            extra.append(name)
        elif list(expected[name]) != list(found[name]):
            other.append(name)
    return [missing, extra, other]


RIGHT = {
    "slim_name": [name_by_join, name_by_branches],
    "prefix_of": [prefix_by_last_part, prefix_by_pattern],
    "compare_tables": [compare_by_sets, compare_by_loops],
}


def renamed(**names):
    return lambda s, n, v: "/".join([s, *n.split("."), names.get(v, v)])


def everywhere(scope, layer, variable):
    path = f"{scope}.{layer}.{variable}".replace(".", "/")
    return path.replace("kernel", "weights").replace("bias", "biases")


def by_list(name):
    for end in (".index", ".meta", ".data-00000-of-00001"):
        if name.endswith(end):
            return name[: -len(end)]
    return name


def one_after_the_other(name):
    name = re.sub(r"\.data-\d+-of-\d+$", "", name)
    return name.removesuffix(".meta").removesuffix(".index")


def compare(noise=is_noise, same=lambda a, b: tuple(a) == tuple(b), order=(0, 1, 2)):
    def candidate(expected, found):
        found = {name: shape for name, shape in found.items() if not noise(name)}
        both = [name for name in sorted(expected) if name in found]
        parts = (
            sorted(set(expected) - set(found)),
            sorted(set(found) - set(expected)),
            [name for name in both if not same(expected[name], found[name])],
        )
        return tuple(parts[i] for i in order)

    return candidate


def product(shape):
    return 1 if not shape else shape[0] * product(shape[1:])


def in_place(expected, found):
    for name in [name for name in found if is_noise(name)]:
        del found[name]
    return compare_by_sets(expected, found)


def missing_as_misshaped(expected, found):
    missing, extra, _ = compare_by_sets(expected, found)
    different = [n for n in expected if tuple(found.get(n, ())) != tuple(expected[n])]
    return missing, extra, sorted(different)


def unsorted(expected, found):
    kept = {name: tuple(shape) for name, shape in found.items() if not is_noise(name)}
    missing = [name for name in expected if name not in kept]
    extra = [name for name in kept if name not in expected]
    return missing, extra, [n for n in kept if n in expected and kept[n] != expected[n]]


WRONG = {
    "slim_name": [
        (renamed(), "the kernel weights and the bias biases"),
        (renamed(kernel="weight"), "are plural"),
        (renamed(kernel="weights"), "The bias is called biases"),
        (renamed(bias="biases"), "The kernel is called weights"),
        (lambda s, n, v: f"{s}/{n}/{RENAMED.get(v, v)}", "Dots become slashes."),
        (
            lambda s, n, v: f"{s}/{n.replace('.', '/', 1)}/{RENAMED.get(v, v)}",
            "not just the first",
        ),
        (lambda s, n, v: f"{n.replace('.', '/')}/{RENAMED.get(v, v)}", "scope of the network"),
        (lambda s, n, v: name_by_join(s, n, v) + ":0", "the name without"),
        (everywhere, "a part of the layer's name that looks like it"),
        (
            lambda s, n, v: name_by_join(s, n, "kernel" if v == "kernel" else "bias"),
            "batch norm's variables keep their names",
        ),
        (lambda s, n, v: "x", "you gave 'x'; it is 'resnet_v2_50/conv1/weights'."),
        (lambda s, n, v: [s, n, v], "one name, a text"),
    ],
    "prefix_of": [
        (lambda n: n.split(".")[0], "Cut at the last dot only"),
        (lambda n: n.rsplit(".", 1)[0], "a prefix may end in .ckpt"),
        (lambda n: n.rpartition(".")[0], "without any dot is its own prefix"),
        (by_list, "in several files"),
        (lambda n: re.sub(r"-\d+$", "", prefix_by_pattern(n)), "number of the step"),
        (lambda n: prefix_by_pattern(n).split(".ckpt")[0], ".ckpt and the step belong"),
        (lambda n: re.sub(r"(\.ckpt).*", r"\1", n), "not every prefix has .ckpt"),
        (lambda n: re.sub(r"\.(index|meta)$", "", n), "The data file belongs"),
        (lambda n: re.sub(r"\.(index|data-.*)$", "", n), "The .meta file has the same"),
        (lambda n: re.sub(r"(index|meta|data-[\d\w-]*)$", "", n), "The dot before"),
        (lambda n: n.rstrip(".index").rstrip(".meta"), "Take removesuffix"),
        (lambda n: re.sub(r"\.(index|meta|data).*", "", n), "Only an ending counts"),
        (lambda n: n.split(".ckpt")[0] + ".ckpt", "Not every prefix has .ckpt"),
        (lambda n: ".".join(n.split(".")[:2]), "look at the end of the name"),
        (
            lambda n: n.replace(".index", "").replace(".meta", "").split(".data-")[0],
            "Only the last ending goes",
        ),
        (prefix_without_a_look_at_the_digits, "backup is none"),
        (one_after_the_other, "not one after the other"),
        (lambda n: n.rstrip(".index"), "and .meta and .data-... go too"),
        (lambda n: "model", "For 'model.ckpt-140.index' you gave 'model'"),
        (lambda n: [n], "Give the prefix, a text"),
    ],
    "compare_tables": [
        (compare(order=(1, 0, 2)), "the other way round"),
        (compare(noise=lambda n: False), "Momentum slots and global_step are not extra"),
        (compare(noise=lambda n: n.endswith("/Momentum")), "global_step is not extra"),
        (compare(noise=lambda n: n == "global_step"), "Momentum slots are not extra"),
        (
            compare(noise=lambda n: n == "global_step" or "Momentum" in n),
            "a scope may have the word in it",
        ),
        (compare(noise=lambda n: n.endswith("Momentum") or n == "global_step"), "are slots"),
        (compare(noise=lambda n: n.endswith(("/Momentum", "global_step"))), "step itself goes"),
        (compare(noise=lambda n: n.endswith(("Momentum", "global_step"))), "no other name"),
        (
            compare(noise=lambda n: n.endswith("/Momentum") or "global_step" in n),
            "has the word in it",
        ),
        (compare(same=lambda a, b: all(map(int.__eq__, a, b))), "zip stops at the shorter one"),
        (
            compare(same=lambda a, b: len(a) == len(b) and tuple(a[-1:]) == tuple(b[-1:])),
            "not just their count",
        ),
        (compare(same=lambda a, b: a == b), "Make both tuples"),
        (compare(same=lambda a, b: product(a) == product(b)), "equally many numbers"),
        (compare(same=lambda a, b: sorted(a) == sorted(b)), "order of the axes"),
        (compare(same=lambda a, b: True), "shapes are to be compared too"),
        (missing_as_misshaped, "has no shape to compare"),
        (unsorted, "not sorted"),
        (in_place, "must stay as they are"),
        (lambda e, f: ([], [], ["x"]), "you give as mis-shaped ['x']; it is []."),
        (lambda e, f: ([], []), "Give three lists"),
        (lambda e, f: True, "Give three lists"),
    ],
}


class TestCheckers(CheckerTests):
    right, wrong, checkers = rows(RIGHT), rows(WRONG), CHECKERS
