"""Photos of the synthetic demo dataset: procedural landmarks, seen from many sides in changing light.

Every side of a building's blocks carries a facade and reaches the picture through one homography. All randomness comes
from ``(seed, landmark, view)``, so a photo has the same bytes on every run.
"""

import functools
import importlib.util
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from landmarks.demo.buildings import CITY, CITY_FACADES, TEXTURE, Block, Facade, Picture, Points, building, facades

SIZES = (
    (1024, 693),
    (1024, 768),
    (693, 1024),
    (512, 384),
    (500, 750),
)  # width, height, as in the thesis' figures 4 and 5
SIZE_WEIGHTS = (0.35, 0.2, 0.15, 0.15, 0.15)
TURNED = 0.06  # share of photos stored on their side, with the EXIF tag that says so
FACING = 0.5  # share of passers-by who look into the camera
ELSEWHERE = 10_000  # views from this one on are from another source
# Public-domain portraits (works of US federal agencies) that installed packages ship: package, file, head as x, y, w, h.
PORTRAITS = (
    ("skimage", "data/astronaut.png", (165, 50, 120, 160)),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", (140, 20, 240, 300)),
)


@dataclass(frozen=True)
class Source:
    """How people of a source take photos."""

    spread: float  # standard deviation of the angle from the front, radians
    reach: tuple[float, float]  # distance, in sizes of the landmark
    zoom: tuple[float, float]
    exposure: tuple[float, float]
    warmth: float  # standard deviation of the colour temperature


USUAL = Source(spread=0.65, reach=(1.5, 2.8), zoom=(0.7, 1.2), exposure=(0.65, 1.35), warmth=0.06)
OTHER = Source(spread=0.9, reach=(1.2, 3.6), zoom=(0.5, 1.3), exposure=(0.45, 1.1), warmth=0.12)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; ``roll`` in radians."""

    eye: Points
    target: Points
    focal: float
    roll: float
    centre: tuple[float, float]

    def project(self, points: Points) -> tuple[Points, Points]:
        """Project points, metres (n, 3), to pixels (n, 2) and depth (n,), metres along the optical axis."""
        forward = (self.target - self.eye) / np.linalg.norm(self.target - self.eye)
        right = _normal(forward, np.array([0.0, 0.0, 1.0]))
        down = _normal(forward, right)
        turn = np.array([[np.cos(self.roll), -np.sin(self.roll)], [np.sin(self.roll), np.cos(self.roll)]])
        seen = (points - self.eye) @ np.stack([right, down, forward], axis=1)
        depth = np.maximum(seen[:, 2], 1e-3)
        return (seen[:, :2] / depth[:, None] * self.focal) @ turn + self.centre, seen[:, 2]


def photo(seed: int, landmark: int, view: int, copy: int = 0) -> bytes:
    """Return one photo as JPEG, at most 1024 pixels a side.

    ``copy`` above 0 gives a near-duplicate, as if the photo was uploaded again: smaller and more compressed.
    """
    rng = np.random.default_rng([seed, landmark, view])
    picture = render(seed, landmark, rng, OTHER if view >= ELSEWHERE else USUAL)
    orientation = int(rng.choice((6, 8))) if rng.random() < TURNED else 1
    quality = int(rng.integers(78, 95))
    if copy:
        picture = cv2.resize(picture, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
        quality -= 15 + copy
    exif = Image.Exif()
    if orientation != 1:
        picture = np.rot90(picture, 1 if orientation == 6 else -1)
        exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=quality, exif=exif)
    return out.getvalue()


def render(seed: int, landmark: int, rng: np.random.Generator, source: Source = USUAL) -> Picture:
    """Draw one upright view: uint8 RGB (height, width, 3)."""
    width, height = SIZES[rng.choice(len(SIZES), p=SIZE_WEIGHTS)]
    scale = max(width, height) / 1024
    blocks = building(seed, landmark)
    tall = max(block.z + block.h for block in blocks)
    wide = max(np.hypot(block.x, block.y) + max(block.w, block.d) / 2 for block in blocks)
    camera = _camera(rng, source, tall, wide, width, height)
    sun = rng.uniform(0, 2 * np.pi)
    light = rng.uniform(0.25, 0.65)  # how much the sun adds to the ambient light

    canvas = _sky(rng, width, height)
    _ground(canvas, rng, camera)

    def near(block: Block) -> float:
        return -float(np.hypot(block.x - camera.eye[0], block.y - camera.eye[1]))

    for block in sorted(_city(seed, rng, camera, wide), key=near):
        _draw(canvas, block, camera, sun, light, facades(seed, CITY))
    canvas = cv2.addWeighted(canvas, 0.8, canvas, 0, 36)  # haze behind the landmark
    for block in sorted(blocks, key=lambda b: (near(b), b.z)):
        _draw(canvas, block, camera, sun, light, facades(seed, landmark))
    for _ in range(rng.integers(0, 5)):
        _tree(canvas, rng, scale)
    for _ in range(rng.choice((0, 1, 2, 4), p=(0.45, 0.25, 0.2, 0.1))):
        _passer_by(canvas, rng, scale)
    return _develop(canvas, rng, source)


def _camera(rng: np.random.Generator, source: Source, tall: float, wide: float, width: int, height: int) -> Camera:
    angle = rng.normal(-np.pi / 2, source.spread)  # most photos are taken from the front
    reach = max(tall, wide) * rng.uniform(*source.reach)
    eye = np.array([np.cos(angle) * reach, np.sin(angle) * reach, rng.choice((1.7, 1.7, tall * rng.uniform(0.2, 1.1)))])
    target = np.array([*rng.normal(0, wide * 0.18, 2), tall * rng.uniform(0.3, 0.6)])
    focal = reach / max(1.15 * tall / height, 2 * wide / width) * rng.uniform(*source.zoom)
    return Camera(eye, target, focal, rng.normal(0, 0.03), (width / 2, height / 2))


def _city(seed: int, rng: np.random.Generator, camera: Camera, wide: float) -> Iterator[Block]:
    away = np.arctan2(-camera.eye[1], -camera.eye[0])
    for _ in range(rng.integers(2, 9)):
        angle, reach = away + rng.uniform(-0.8, 0.8), wide * rng.uniform(2.2, 4)
        w, d, h = rng.uniform(10, 30), rng.uniform(10, 20), rng.uniform(6, 24)
        facade = int(rng.integers(0, CITY_FACADES))
        yield Block(np.cos(angle) * reach, np.sin(angle) * reach, 0, w, d, h, (1, 1), facade)


def _draw(canvas: Picture, block: Block, camera: Camera, sun: float, light: float, worn: tuple[Facade, ...]) -> None:
    corners = block.corners()
    pixels, depth = camera.project(corners)
    if depth.min() < 1.0 or np.abs(pixels).max() > 1e4:
        return
    sides = [(a, (a + 1) % 4, 4 + (a + 1) % 4, 4 + a) for a in range(4)]
    centre = corners.mean(axis=0)
    for quad in sorted(sides, key=lambda q: -depth[list(q)].mean()):
        a, b, _, d = (corners[i] for i in quad)
        normal = _normal(b - a, d - a)
        if np.dot(normal, a - centre) < 0:
            normal = -normal
        if np.dot(normal, camera.eye - a) <= 0:
            continue
        lit = max(0.0, float(normal[0] * np.cos(sun) + normal[1] * np.sin(sun)))
        _texture(canvas, worn[block.facade], pixels[list(quad)], 1 - light + light * lit + 0.25 * normal[2])
    if camera.eye[2] > block.z + block.h:
        colour = (110 * (1 - light / 3), 108 * (1 - light / 3), 104 * (1 - light / 3))
        cv2.fillConvexPoly(canvas, pixels[4:].astype(np.int32), colour, cv2.LINE_AA)


def _normal(a: Points, b: Points) -> Points:
    """Unit vector across both (numpy's cross takes ten times as long on such short vectors)."""
    across = np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])
    return across / (np.sqrt(across @ across) + 1e-9)


def _texture(canvas: Picture, levels: Facade, quad: Points, shade: float) -> None:
    """Warp a texture onto a quadrilateral (bottom left, bottom right, top right, top left) of the canvas."""
    low = np.maximum(np.floor(quad.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(quad.max(axis=0)).astype(int) + 1, canvas.shape[1::-1])
    if (high - low).min() < 2:
        return
    extent = np.ptp(quad, axis=0).max()
    level = int(np.clip(np.log2(TEXTURE / max(extent, 1)), 0, len(levels) - 1))
    texture = levels[level]
    side = texture.shape[0] - 1
    source = np.array([[0, side], [side, side], [side, 0], [0, 0]], np.float32)
    warp = cv2.getPerspectiveTransform(source, (quad - low).astype(np.float32))
    region = canvas[low[1] : high[1], low[0] : high[0]]
    size = (region.shape[1], region.shape[0])
    lit = cv2.convertScaleAbs(texture, alpha=shade)
    warped = cv2.warpPerspective(lit, warp, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(region.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.round(quad - low).astype(np.int32), 255)
    cv2.copyTo(warped, mask, region)


def _sky(rng: np.random.Generator, width: int, height: int) -> Picture:
    blue, grey = ((70, 120, 200), (200, 220, 240)), ((150, 155, 165), (225, 225, 225))
    top, bottom = np.array(blue if rng.random() < 0.6 else grey)
    if rng.random() < 0.15:
        top, bottom = np.array([(60, 50, 90), (240, 160, 110)])
    small = (width // 4, height // 4)  # a sky has no detail that needs the full size
    ramp = np.linspace(0, 1, small[1])[:, None, None] ** rng.uniform(0.6, 1.4)
    clouds = cv2.resize(rng.random((7, 9)).astype(np.float32), small, interpolation=cv2.INTER_CUBIC)
    cover = np.clip(clouds * 2 - rng.uniform(0.8, 1.8), 0, 0.9)[..., None]
    sky = (top * (1 - ramp) + bottom * ramp) * (1 - cover) + 238 * cover
    return cv2.resize(np.clip(sky, 0, 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)


def _ground(canvas: Picture, rng: np.random.Generator, camera: Camera) -> None:
    height, width = canvas.shape[:2]
    far = camera.target + (camera.target - camera.eye) * 50
    horizon = int(np.clip(camera.project(np.array([[far[0], far[1], 0.0]]))[0][0, 1], 0, height - 1))
    colour = rng.choice(((120, 118, 112), (150, 140, 120), (95, 125, 70), (170, 160, 150)))
    rows = height - horizon
    grain = rng.normal(0, 10, (24, 12)).astype(np.float32)
    grain = cv2.resize(grain, (width, rows), interpolation=cv2.INTER_LINEAR)
    fade = np.linspace(0.85, 1.1, rows)[:, None, None]
    canvas[horizon:] = np.clip(colour * fade + grain[..., None], 0, 255)
    if rng.random() < 0.6:  # paving that runs to the vanishing point
        for x in np.linspace(-3 * width, 4 * width, 40):
            cv2.line(canvas, (width // 2, horizon), (int(x), height), (colour * 0.8).tolist(), 1, cv2.LINE_AA)


@functools.lru_cache(maxsize=1)
def _trees() -> tuple[Picture, ...]:
    sprites = []
    for index in range(6):
        rng = np.random.default_rng([index, 10**9 + 2])
        sprite = np.zeros((192, 128, 4), np.uint8)
        cv2.rectangle(sprite, (60, 110), (68, 192), (80, 60, 40, 255), -1)
        for _ in range(160):
            x, y = rng.normal(64, 22), rng.normal(72, 28)
            green = (*(np.array((50, 95, 35)) * rng.uniform(0.5, 1.5)).tolist(), 255)
            cv2.circle(sprite, (int(x), int(y)), int(rng.integers(4, 12)), green, -1)
        sprites.append(sprite)
    return tuple(sprites)


def _tree(canvas: Picture, rng: np.random.Generator, scale: float) -> None:
    sprite = _trees()[rng.integers(0, 6)]
    tall = scale * rng.uniform(90, 420)
    side = rng.choice((rng.uniform(-0.1, 0.25), rng.uniform(0.75, 1.1)))
    _paste(canvas, sprite, int(side * canvas.shape[1]), int(canvas.shape[0] * rng.uniform(0.8, 1.05)), tall)


def _paste(canvas: Picture, sprite: Picture, x: int, bottom: int, tall: float) -> None:
    """Blend an RGBA sprite, ``tall`` pixels high, its foot at ``(x, bottom)``, cropped to the canvas."""
    size = (max(int(sprite.shape[1] * tall / sprite.shape[0]), 2), max(int(tall), 2))
    sprite = cv2.resize(sprite, size, interpolation=cv2.INTER_AREA)
    left, top = x - size[0] // 2, bottom - size[1]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + size[0], canvas.shape[1]), min(bottom, canvas.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    sprite = sprite[y0 - top : y1 - top, x0 - left : x1 - left]
    alpha = sprite[..., 3:].astype(np.float32) / 255
    region = canvas[y0:y1, x0:x1]
    region[:] = region * (1 - alpha) + sprite[..., :3] * alpha


@functools.lru_cache(maxsize=1)
def _heads() -> tuple[Picture, ...]:
    """The portraits cut out along an ellipse: RGBA."""
    heads = []
    for package, file, (x, y, w, h) in PORTRAITS:
        found = importlib.util.find_spec(package)  # located, not imported: only the file is needed
        home = Path(str(found and found.origin)).parent
        picture = np.asarray(Image.open(home / file).convert("RGB"))[y : y + h, x : x + w]
        mask = np.zeros((h, w), np.uint8)
        cv2.ellipse(mask, (w // 2, h // 2), (w // 2 - 2, h // 2 - 2), 0, 0, 360, 255, -1)
        heads.append(np.dstack([picture, cv2.GaussianBlur(mask, (0, 0), 3)]))
    return tuple(heads)


def _passer_by(canvas: Picture, rng: np.random.Generator, scale: float) -> None:
    head = scale * np.exp(rng.uniform(np.log(22), np.log(130)))  # head height, pixels
    x = int(rng.uniform(0.05, 0.95) * canvas.shape[1])
    top = canvas.shape[0] * rng.uniform(0.35, 0.8)
    neck = int(top + head * 0.9)
    coat, trousers = (rng.uniform(20, 220, 3).tolist() for _ in range(2))
    for side in (-1, 1):
        cv2.rectangle(canvas, (int(x + side * head * 0.45 - head * 0.3), int(neck + head * 2.5)),
                      (int(x + side * head * 0.45 + head * 0.3), int(neck + head * 6)), trousers, -1)  # fmt: skip
    middle, axes = (x, int(neck + head * 1.7)), (int(head * 0.95), int(head * 1.75))
    cv2.ellipse(canvas, middle, axes, 0, 0, 360, coat, -1, cv2.LINE_AA)
    if rng.random() < FACING:
        sprite = _heads()[rng.integers(0, len(PORTRAITS))]
        if rng.random() < 0.5:
            sprite = sprite[:, ::-1]
        tint = rng.uniform(0.75, 1.15)
        sprite = np.dstack([cv2.convertScaleAbs(np.ascontiguousarray(sprite[..., :3]), alpha=tint), sprite[..., 3]])
        _paste(canvas, sprite, x, int(top + head), head)
    else:
        hair = rng.uniform((20, 15, 10), (140, 110, 90)).tolist()
        middle, axes = (x, int(top + head / 2)), (int(head * 0.38), int(head / 2))
        cv2.ellipse(canvas, middle, axes, 0, 0, 360, hair, -1, cv2.LINE_AA)


@functools.lru_cache(maxsize=1)
def _grain() -> NDArray[np.float32]:
    return np.random.default_rng(10**9 + 3).normal(0, 8, (1400, 1400)).astype(np.float32)


def _develop(canvas: Picture, rng: np.random.Generator, source: Source) -> Picture:
    """Exposure, colour temperature, contrast, a passing shadow, focus and grain, in that order."""
    exposure, warmth, gamma = rng.uniform(*source.exposure), rng.normal(0, source.warmth), rng.uniform(0.8, 1.25)
    steps = np.arange(256) / 255
    curves = [255 * np.clip(steps**gamma * exposure * gain, 0, 1) for gain in (1 + warmth, 1.0, 1 - warmth)]
    canvas = cv2.LUT(canvas, np.stack(curves, axis=1)[None].astype(np.uint8))
    height, width = canvas.shape[:2]
    if rng.random() < 0.35:
        left, right = np.sort(rng.uniform(0, width, 2)).astype(int)
        canvas[:, left:right] = canvas[:, left:right] * rng.uniform(0.5, 0.8)
    if rng.random() < 0.25:
        canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.6, 1.6))
    y, x = rng.integers(0, 1400 - 1024, 2)
    noise = cv2.convertScaleAbs(_grain()[y : y + height, x : x + width], alpha=rng.uniform(0.2, 1.0))
    return cv2.subtract(canvas, cv2.merge([noise] * 3))
