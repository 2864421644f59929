"""ONNX files changed in place, without the package onnx: CenterFace's file fixes the size of the photo at 32 x 32."""

from collections.abc import Iterator

GRAPH, INPUT, OUTPUT = 7, 11, 12  # fields of onnx.proto: of ModelProto the first, of GraphProto the others
BYTES = 2  # the wire type of strings and messages
SIDE, FREE = b"\x0a\x02\x08", b"\x0a\x02\x12\x00"  # a dimension: of one number below 128; of a name, which is empty
BATCH_AND_SIDES = (0, 2, 3)


def free_size(model: bytes, photo: str) -> bytes:
    """Return the model with any number, height and width of photos, and its weights as constants.

    ``photo`` is the input that stays: the file lists its weights as inputs too, and onnxruntime merges layers only where
    weights are constant, which makes the network 1.8 times faster.
    """
    return b"".join(
        _field(number, _free_graph(body, photo.encode())) if number == GRAPH else whole
        for number, whole, body in _fields(model)
    )


def _free_graph(graph: bytes, photo: bytes) -> bytes:
    kept = []
    for number, whole, body in _fields(graph):
        if number == OUTPUT or (number == INPUT and body.startswith(b"\x0a" + bytes([len(photo)]) + photo)):
            kept.append(_free(whole))
        elif number != INPUT:
            kept.append(whole)
    return b"".join(kept)


def _free(value: bytes) -> bytes:
    """A value of four dimensions, each of one byte, with its batch, height and width left open; the length stays."""
    parts = value.split(SIDE)
    head, sizes = parts[0], [SIDE + part for part in parts[1:]]
    for axis in BATCH_AND_SIDES:
        sizes[axis] = FREE + sizes[axis][len(FREE) :]
    return head + b"".join(sizes)


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, all bytes and content of each field of a message."""
    at = 0
    while at < len(message):
        start = at
        key, at = _number(message, at)
        value, at = _number(message, at)
        end = at + value if key & 7 == BYTES else at
        yield key >> 3, message[start:end], message[at:end]
        at = end


def _number(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (message[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 128:
            return value, at


def _field(number: int, body: bytes) -> bytes:
    head, length = bytearray([number << 3 | BYTES]), len(body)
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes(head) + bytes([length]) + body
