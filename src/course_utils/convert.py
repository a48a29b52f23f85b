"""ResNet weights from Keras to PyTorch and back, so that the outputs stay equal.

It imports both frameworks. The layers of `course_utils.tf.resnet` and of
`course_utils.pt.ResNet` have one partner each; `torch_names` says which.

| in Keras | in PyTorch |
|---|---|
| kernel [height, width, in, out] of a convolution | weight [out, in, height, width] |
| kernel [in, out] of the dense layer | weight [out, in] |
| gamma, beta, moving_mean, moving_variance | weight, bias, running_mean, running_var |
| bias of a convolution before batch norm | none: moved into the mean that is subtracted |
| decay | momentum = 1 - decay |

In training mode the two frameworks agree too, but for the stored variance: PyTorch
multiplies the batch's by n / (n - 1). Weights that are copied in training go on from there;
the state of an optimizer is not copied.
"""

from string import ascii_lowercase

import numpy as np
import torch
from keras import layers
from torch import nn

from course_utils import pt
from course_utils.specs import RESNETS
from course_utils.tf.blocks import POST
from course_utils.tf.resnet50 import differences, facts, refuse, strangers, weighted


def torch_names(spec=RESNETS[50], num_classes=6) -> dict[str, str]:
    """Return the name in Keras -> the name in PyTorch, for each layer with weights."""
    names = {"conv1": "conv1", "bn_conv1": "bn1"}
    for stage, blocks in enumerate(spec.blocks, start=2):
        for i, letter in enumerate(ascii_lowercase[:blocks]):
            block = f"layer{stage - 1}.{i}"
            for number, branch in enumerate(("2a", "2b", "2c"), start=1):
                names[f"res{stage}{letter}_branch{branch}"] = f"{block}.conv{number}"
                names[f"bn{stage}{letter}_branch{branch}"] = f"{block}.bn{number}"
            if i == 0:
                names[f"res{stage}a_branch1"] = f"{block}.downsample.0"
                names[f"bn{stage}a_branch1"] = f"{block}.downsample.1"
    return names | {f"fc{num_classes}": "fc"}


def torch_twin(num_classes=6, in_channels=3, settings=POST, spec=RESNETS[50]) -> nn.Module:
    """Return the PyTorch network that a Keras one with these settings turns into.

    Without arguments it is the twin of `tf.resnet50()`, the old assignment's network: stride
    on the first 1x1 convolution, epsilon 1e-3, no padding before the pooling. It has no
    biases before batch norm; those of the Keras network go into the means. Its own weights
    are fresh ones of `pt.ResNet`.
    """
    model = pt.ResNet(spec, num_classes, in_channels)
    model.maxpool.padding = settings.pool_padding
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps, module.momentum = settings.epsilon, 1 - settings.decay
        elif isinstance(module, pt.Bottleneck) and not settings.stride_on_3x3:
            module.conv1.stride, module.conv2.stride = module.conv2.stride, (1, 1)
    return model


def torch_tensors(module) -> list:
    """Return a layer's tensors in the order and with the axes of Keras; counters left out."""
    if isinstance(module, nn.BatchNorm2d):
        tensors = [module.weight, module.bias, module.running_mean, module.running_var]
    elif isinstance(module, nn.Conv2d):
        tensors = [module.weight.permute(2, 3, 1, 0), module.bias]
    else:
        tensors = [module.weight.T, module.bias]
    return [tensor.detach() for tensor in tensors if tensor is not None]


def keras_arrays(model, name) -> list:
    """Return a layer's weights; a bias before batch norm is moved into the norm's mean."""
    layer = model.get_layer(name)
    arrays = layer.get_weights()
    if isinstance(layer, layers.Conv2D):
        return arrays[:1]
    if isinstance(layer, layers.BatchNormalization):
        before = model.get_layer("conv1" if name == "bn_conv1" else f"res{name[2:]}")
        if before.use_bias:
            arrays[2] = arrays[2] - before.get_weights()[1]
    return arrays


def torch_facts(model, names) -> dict[str, object]:
    """Return of a PyTorch network what `tf.resnet50.facts` returns of a Keras one."""
    found = {}
    for name, own in names.items():
        module = model.get_submodule(own)
        found[f"shapes of {name}"] = [tuple(tensor.shape) for tensor in torch_tensors(module)]
        if isinstance(module, nn.Conv2d):
            found[f"stride of {name}"] = module.stride[0]
            if own != "conv1":
                found[f"zeros around {name}"] = module.padding[0]
        elif isinstance(module, nn.BatchNorm2d):
            found[f"epsilon of {name}"] = module.eps
        elif isinstance(module, nn.Linear):
            found[f"activation of {name}"] = "linear"
    pool = model.maxpool
    window, stride, padding = (
        size if isinstance(size, int) else size[0]
        for size in (pool.kernel_size, pool.stride, pool.padding)
    )
    rounding = "up" if pool.ceil_mode else "down"
    found["window, stride, rounding of pool1"] = [(window, stride, rounding)]
    found["padding before conv1"] = model.conv1.padding[0]
    found["padding before pool1"] = padding
    return found


def keras_facts(model, names) -> dict[str, object]:
    """Return `facts`, without the biases that PyTorch's network does not have."""
    found = facts(model, {name: name for name in names})
    for name in names:
        if isinstance(model.get_layer(name), layers.Conv2D):
            found[f"shapes of {name}"] = found[f"shapes of {name}"][:1]
    return found


def partners(keras_model, torch_model, spec, to_torch) -> dict[str, str]:
    """Return names in Keras -> names in PyTorch; raise ValueError where networks differ."""
    names = torch_names(spec, keras_model.output_shape[-1])
    own = {name for name, _ in torch_model.named_parameters()}
    own = {name.rpartition(".")[0] for name in own}
    problems = strangers(weighted(keras_model), names, "the Keras network")
    problems += strangers(own, names.values(), "the PyTorch network")
    if not problems:
        both = keras_facts(keras_model, names), torch_facts(torch_model, names)
        problems = differences(*(both if to_torch else both[::-1]))
    ends = "Keras", "PyTorch"
    refuse(problems, *(ends if to_torch else ends[::-1]))
    return names


def keras_to_torch(keras_model, torch_model, spec=RESNETS[50]) -> None:
    """Copy the weights of a `tf.resnet` into a `pt.ResNet` (see `torch_twin`), or none.

    Keras's biases before batch norm are moved into the stored means: PyTorch's network has
    none, and the outputs are equal. Raises ValueError, and changes nothing, unless names,
    shapes, strides, paddings, epsilons, the stem's pooling and the activation of the dense
    layer (none in PyTorch) agree. Decay may differ.
    """
    names = partners(keras_model, torch_model, spec, to_torch=True)
    with torch.no_grad():
        for name, own in names.items():
            targets = torch_tensors(torch_model.get_submodule(own))
            for tensor, array in zip(targets, keras_arrays(keras_model, name), strict=True):
                tensor.copy_(torch.from_numpy(array))


def torch_to_keras(torch_model, keras_model, spec=RESNETS[50]) -> None:
    """Copy the weights of a `pt.ResNet` into a `tf.resnet` of the same settings, or none.

    For torchvision's weights build `tf.resnet50(settings=tf.PYTORCH)`. Biases before
    batch norm that the Keras network may have become zero. Raises ValueError as
    `keras_to_torch` does.
    """
    names = partners(keras_model, torch_model, spec, to_torch=False)
    for name, own in names.items():
        layer = keras_model.get_layer(name)
        arrays = [t.cpu().numpy() for t in torch_tensors(torch_model.get_submodule(own))]
        if len(arrays) < len(layer.weights):
            arrays.append(np.zeros(layer.filters, arrays[0].dtype))
        layer.set_weights(arrays)
