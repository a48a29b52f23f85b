"""BatchNorm of both frameworks: against NumPy, the libraries' own layers, and abuse."""

import copy
import io
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from course_utils import reference
from course_utils.pt import BatchNorm as TorchBatchNorm
from course_utils.tf import BatchNorm as KerasBatchNorm

SHAPES = [(6, 3), (4, 5, 2, 3)]  # NHWC; the tests turn it round for PyTorch
TOLERANCE = 1e-5


def turned(x):
    """NHWC to NCHW; `[batch, features]` stays."""
    return torch.tensor(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


def numpy_of(tensor):
    return tensor.detach().numpy() if isinstance(tensor, torch.Tensor) else np.asarray(tensor)


def set_values(layer, values):
    for name, value in values.items():
        if isinstance(layer, torch.nn.Module):
            getattr(layer, name).data.copy_(torch.tensor(value))
        else:
            getattr(layer, name).assign(value)


def run_torch(layer, names, x, dy, training):
    """Return y, the gradients of sum(y dy) for x, gamma, beta, and the two averages."""
    x = turned(x).requires_grad_()
    y = layer.train(training)(x)
    (y * turned(dy)).sum().backward()
    gamma, beta, mean, var = (getattr(layer, name) for name in names)
    back = [torch.movedim(t, 1, -1) for t in (y, x.grad)]
    return [numpy_of(t) for t in (*back, gamma.grad, beta.grad, mean, var)]


def run_keras(layer, names, x, dy, training):
    gamma, beta, mean, var = (getattr(layer, name) for name in names)
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=training)
        total = tf.reduce_sum(y * dy)
    grads = tape.gradient(total, [x, gamma.value, beta.value])
    return [numpy_of(t) for t in (y, *grads, mean, var)]


OURS = ("gamma", "beta", "moving_mean", "moving_variance")
IN_TORCH = ("weight", "bias", "running_mean", "running_var")


def layers_of(framework, rank, decay, epsilon, unbiased):
    """Return our layer and the library's own one, each with the names of its values."""
    if framework == "torch":
        theirs = torch.nn.BatchNorm1d if rank == 2 else torch.nn.BatchNorm2d
        ours = TorchBatchNorm(3, decay, epsilon, unbiased)
        return run_torch, [(ours, OURS), (theirs(3, epsilon, 1 - decay), IN_TORCH)]
    ours = KerasBatchNorm(decay, epsilon, unbiased)
    pair = [ours, keras.layers.BatchNormalization(momentum=decay, epsilon=epsilon)]
    for layer in pair:
        layer.build((None,) * (rank - 1) + (3,))
    return run_keras, [(layer, OURS) for layer in pair]


def numpy_gradients(x, dy, gamma, mean, var, epsilon, training):
    """Gradients of sum(y dy): in training the statistics depend on x as well."""
    axes = tuple(range(x.ndim - 1))
    normal = (x - mean) / np.sqrt(var + epsilon)
    dx = dy
    if training:
        dx = dy - dy.mean(axes) - normal * (dy * normal).mean(axes)
    return dx * gamma / np.sqrt(var + epsilon), (dy * normal).sum(axes), dy.sum(axes)


@pytest.mark.parametrize("shape", SHAPES, ids=["2-D", "4-D"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_equal_to_numpy_and_to_the_frameworks_own_layer(framework, training, shape):
    rng = np.random.default_rng(len(shape))
    decay, epsilon = 0.7, 1e-3
    x = rng.normal(1.0, 2.0, size=shape).astype(np.float32)
    dy = rng.normal(size=shape).astype(np.float32)
    start = dict(zip(OURS, (rng.random((4, 3)) + 0.5).astype(np.float32), strict=True))
    gamma, beta, mean, var = (start[name].astype(float) for name in OURS)
    expected_averages = mean, var
    if training:
        batch_mean, batch_var = reference.batch_statistics(x.astype(float))
        count = x.size // 3
        stored = batch_var * count / (count - 1) if framework == "torch" else batch_var
        pairs = ((mean, batch_mean), (var, stored))
        expected_averages = [decay * old + (1 - decay) * new for old, new in pairs]
        mean, var = batch_mean, batch_var
    expected = [
        reference.batch_norm(x, gamma, beta, mean=mean, var=var, epsilon=epsilon),
        *numpy_gradients(x, dy, gamma, mean, var, epsilon, training),
        *expected_averages,
    ]
    # Each library's own layer fixes which variance it stores; ours is set to the same.
    unbiased = framework == "torch"
    run, layers = layers_of(framework, len(shape), decay, epsilon, unbiased)
    for layer, names in layers:
        set_values(layer, dict(zip(names, start.values(), strict=True)))
        got = run(layer, names, x, dy, training)
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("decay", [0, 0.5, 0.997])
def test_averages_are_the_ema_of_the_batch_statistics(decay, unbiased):
    batches = np.random.default_rng(1).normal(1.0, 3.0, size=(5, 4, 3)).astype(np.float32)
    layers = (
        TorchBatchNorm(3, decay, unbiased_variance=unbiased),
        KerasBatchNorm(decay, unbiased_variance=unbiased),
    )
    for x in batches:
        layers[0](torch.tensor(x), training=True)
        layers[1](x, training=True)
    means = reference.ema(batches.mean(axis=1), decay)
    variances = reference.ema(batches.var(axis=1, ddof=int(unbiased)), decay, initial=1.0)
    for layer in layers:
        np.testing.assert_allclose(numpy_of(layer.moving_mean), means[-1], atol=TOLERANCE)
        np.testing.assert_allclose(numpy_of(layer.moving_variance), variances[-1], rtol=1e-5)


def layer_and_maker(framework):
    """Return a layer of three channels that exists, and what makes its inputs from NHWC."""
    if framework == "torch":
        return TorchBatchNorm(3), turned
    return KerasBatchNorm(), tf.constant


def averages(layer):
    return [numpy_of(getattr(layer, name)).tolist() for name in OURS[2:]]


@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 1, 3), (0, 3)])
@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_a_batch_without_variance_is_refused_in_training_only(framework, shape):
    layer, make = layer_and_maker(framework)
    x = make(np.ones(shape, np.float32))
    assert layer(x, training=False).shape == x.shape
    before = averages(layer)
    with pytest.raises(ValueError, match=r"one value per channel, got shape .*larger batch"):
        layer(x, training=True)
    assert averages(layer) == before
    two_pixels = make(np.ones((1, 1, 2, 3), np.float32))
    if len(shape) == 4:
        assert layer(two_pixels, training=True).shape == two_pixels.shape


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_wrong_axes_and_channels_are_refused_not_broadcast(framework, training):
    for shape in [(4, 5, 3), (2, 2, 2, 2, 3)]:
        layer, make = layer_and_maker(framework)
        with pytest.raises(ValueError, match="2 or 4 axes"):
            layer(make(np.ones(shape, np.float32)), training=training)
    layer, make = layer_and_maker(framework)
    layer(make(np.ones((2, 2, 2, 3), np.float32)), training=training)
    for channels in (1, 4):
        with pytest.raises(ValueError, match=r"size 3|value 3"):
            layer(make(np.ones((2, 2, 2, channels), np.float32)), training=training)


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_constant_inputs_give_beta_and_finite_gradients(framework):
    run, [(layer, names), _] = layers_of(framework, 2, 0.9, 1e-5, True)
    set_values(layer, {"beta": np.array([1.0, 2.0, 3.0], np.float32)})
    x = np.full((4, 3), 1e4, np.float32)
    y, *rest = run(layer, names, x, np.ones_like(x), True)
    np.testing.assert_array_equal(y, [[1.0, 2.0, 3.0]] * 4)
    assert all(np.isfinite(values).all() for values in rest)


# PyTorch alone


def test_torch_in_double_passes_the_gradient_check():
    torch.manual_seed(0)
    layer = TorchBatchNorm(3, decay=0.5).double()
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    for training in (True, False):
        assert torch.autograd.gradcheck(lambda x, t=training: layer(x, training=t), x)
    expected = reference.batch_statistics(x.detach().movedim(1, -1).numpy())
    layer.decay = 0
    layer(x)
    np.testing.assert_allclose(layer.moving_mean.numpy(), expected[0], atol=1e-14)
    np.testing.assert_allclose(layer.moving_variance.numpy(), expected[1] * 16 / 15, rtol=1e-14)


def test_torch_moves_its_buffers_with_the_model():
    layer = TorchBatchNorm(3)
    x = torch.randn(4, 3, 2, 2)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        layer.to(dtype)
        assert {value.dtype for value in layer.state_dict().values()} == {dtype}
        for training in (True, False):
            assert layer(x.to(dtype), training=training).dtype == dtype
    assert layer.to("meta").moving_variance.device.type == "meta"


def test_torch_keeps_statistics_in_float32_under_autocast():
    x = torch.randn(8, 3)
    layer, plain = TorchBatchNorm(3, 0.5), TorchBatchNorm(3, 0.5)
    half = x.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(half)
    plain(half.float())
    assert averages(layer) == averages(plain)


def test_torch_saves_exactly_four_tensors_and_loads_them_strictly():
    layer = TorchBatchNorm(3)
    layer(torch.randn(5, 3))
    assert tuple(layer.state_dict()) == OURS
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    fresh = TorchBatchNorm(3)
    fresh.load_state_dict(torch.load(file, weights_only=True), strict=True)
    x = torch.randn(2, 3)
    for twin in (fresh, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x, training=False), layer(x, training=False))
        twin(x, training=True)  # a copy has buffers of its own
        assert averages(twin) != averages(layer)


def test_torch_averages_carry_no_graph_after_training():
    layer = TorchBatchNorm(3)
    for _ in range(3):
        layer(layer(torch.randn(4, 3, requires_grad=True))).square().sum().backward()
        with torch.no_grad():
            for value in layer.parameters():
                value -= 0.1 * value.grad
    assert all(not b.requires_grad and b.grad_fn is None for b in layer.buffers())
    assert [name for name, _ in layer.named_buffers()] == list(OURS[2:])
    assert [name for name, _ in layer.named_parameters()] == list(OURS[:2])


def test_torch_argument_overrides_the_mode_of_the_module():
    x = torch.randn(6, 3) * 5
    for mode in (True, False):
        layer = TorchBatchNorm(3).train(mode)
        before = averages(layer)
        evaluated = layer(x, training=False)
        assert averages(layer) == before
        assert torch.equal(layer(x), layer(x, training=True)) is mode  # None: the module's
        trained = layer(x, training=True)
        assert averages(layer) != before
        assert not torch.allclose(evaluated, trained)


# Keras alone


def test_keras_asks_for_the_mode():
    x = np.ones((4, 3), np.float32)
    with pytest.raises(ValueError, match="without training=True or training=False"):
        KerasBatchNorm()(x)
    model = keras.Sequential([keras.Input((3,)), KerasBatchNorm()])
    with pytest.raises(ValueError, match="without training=True or training=False"):
        model(x)
    assert model(x, training=False).shape == (4, 3)


def open_graph(layer, jit_compile):
    """Return the layer in training, traced once for every batch size."""
    layer.build((None, 3))
    signature = [tf.TensorSpec([None, 3])]
    call = lambda x: layer(x, training=True)  # noqa: E731
    return tf.function(call, input_signature=signature, jit_compile=jit_compile)


def test_keras_refuses_a_batch_of_one_in_an_open_graph_and_stays_unhurt():
    layer = KerasBatchNorm(0.5)
    graph = open_graph(layer, jit_compile=False)
    before = averages(layer)
    for _ in range(5):  # without an order between check and update some would get through
        with pytest.raises(tf.errors.InvalidArgumentError, match="one value per channel"):
            graph(tf.ones((1, 3)))
    assert averages(layer) == before
    x = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    np.testing.assert_allclose(
        graph(x), TorchBatchNorm(3)(torch.tensor(x)).detach(), atol=TOLERANCE
    )


def test_keras_under_xla_equals_the_plain_graph_and_never_stores_nan():
    x = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
    compiled, plain = KerasBatchNorm(0.5), KerasBatchNorm(0.5)
    graph = open_graph(compiled, jit_compile=True)
    np.testing.assert_allclose(graph(x), plain(x, training=True), atol=TOLERANCE)
    np.testing.assert_allclose(averages(compiled), averages(plain), atol=TOLERANCE)
    graph(tf.ones((1, 3)))  # XLA has no run-time checks
    assert np.isfinite(averages(compiled)).all()


def test_keras_fits_evaluates_and_predicts_with_a_last_batch_of_another_size():
    rng = np.random.default_rng(4)
    x = rng.normal(3.0, 2.0, size=(10, 2, 2, 3)).astype(np.float32)
    layer = KerasBatchNorm(0.5)
    model = keras.Sequential([keras.Input((None, None, 3)), layer])
    assert tuple(weight.name for weight in layer.trainable_weights) == OURS[:2]
    assert tuple(weight.name for weight in layer.non_trainable_weights) == OURS[2:]
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(x, x, batch_size=4, epochs=1, shuffle=False, verbose=0)
    batches = [x[0:4], x[4:8], x[8:10]]
    variances = [batch.var(axis=(0, 1, 2), ddof=1) for batch in batches]
    mean = reference.ema([batch.mean(axis=(0, 1, 2)) for batch in batches], 0.5)[-1]
    var = reference.ema(variances, 0.5, initial=1.0)[-1]
    np.testing.assert_allclose(averages(layer), [mean, var], rtol=TOLERANCE)
    expected = reference.batch_norm(x, 1.0, 0.0, mean=mean, var=var)
    np.testing.assert_allclose(model.predict(x, batch_size=9, verbose=0), expected, atol=1e-5)
    loss = model.evaluate(x, x, batch_size=9, verbose=0)
    assert loss == pytest.approx(((expected - x) ** 2).mean(), rel=1e-4)
    np.testing.assert_allclose(averages(layer), [mean, var], rtol=TOLERANCE)  # not moved


@pytest.fixture
def policy():
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_keras_keeps_statistics_exact_in_other_precisions(policy, name):
    policy(name)
    ours = KerasBatchNorm(0.5, unbiased_variance=False)
    theirs = keras.layers.BatchNormalization(momentum=0.5, epsilon=1e-5)
    # 73,728 values per channel: float16 cannot count so far.
    x = np.random.default_rng(5).normal(10.0, 3.0, size=(8, 96, 96, 1)).astype(np.float32)
    y, expected = ours(x, training=True), theirs(x, training=True)
    assert y.dtype == expected.dtype == keras.config.dtype_policy().compute_dtype
    step = 2.0**-7 if y.dtype == tf.bfloat16 else 2.0**-9
    np.testing.assert_allclose(tf.cast(y, "float32"), tf.cast(expected, "float32"), atol=step)
    np.testing.assert_allclose(averages(ours), averages(theirs), rtol=TOLERANCE)
