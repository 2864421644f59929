"""Buildings of the synthetic demo dataset: stacks of tapered blocks with procedural facades.

A wall, a gable, a dome's ring and a pyramid are all blocks whose top is smaller than their base.
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]
Facade = tuple[Picture, ...]  # one texture as a pyramid, finest first

TEXTURE = 256  # side of a facade, pixels
CITY = -1  # the landmark number of the anonymous houses behind the landmark
CITY_FACADES = 12


@dataclass(frozen=True)
class Block:
    """A frustum: base rectangle ``w`` x ``d`` at ``(x, y, z)``, height ``h``, top scaled by ``taper``; metres."""

    x: float
    y: float
    z: float
    w: float
    d: float
    h: float
    taper: tuple[float, float]
    facade: int

    def corners(self) -> Points:
        """Base then top, counter-clockwise from above: float64 (8, 3)."""
        base = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (self.w / 2, self.d / 2)
        top = base * self.taper
        middle = np.array([self.x, self.y, self.z])
        return middle + np.vstack([np.pad(base, ((0, 0), (0, 1))), np.insert(top, 2, self.h, axis=1)])


@functools.lru_cache(maxsize=128)
def building(seed: int, landmark: int) -> tuple[Block, ...]:
    """Return the blocks of a landmark, metres, its centre at the origin."""
    rng = np.random.default_rng([seed, landmark, 10**9])
    w, d, h = rng.uniform(14, 34), rng.uniform(12, 28), rng.uniform(8, 26)
    lean = rng.choice((1.0, 1.0, 0.85, 0.7))
    blocks = [Block(0, 0, 0, w, d, h, (lean, lean), 0)]
    blocks += _roof(rng, blocks[0], 1)
    kind = rng.integers(0, 4)
    if kind == 1:  # a tower beside it
        side = rng.uniform(5, 9)
        tower = Block(w / 2 + side / 2, rng.uniform(-d, d) / 3, 0, side, side, h * rng.uniform(1.3, 2.4), (1, 1), 2)
        blocks += [tower, *_roof(rng, tower, 1)]
    elif kind == 2:  # two wings
        for sign in (-1, 1):
            wing = Block(sign * w * 0.75, 0, 0, w / 2, d * 0.8, h * 0.6, (1, 1), 2)
            blocks += [wing, *_roof(rng, wing, 1)]
    elif kind == 3:  # storeys that step back
        z, size = h, np.array([w, d]) * lean
        blocks = blocks[:1]
        for _ in range(rng.integers(1, 4)):
            size, step = size * rng.uniform(0.6, 0.85), h * rng.uniform(0.35, 0.7)
            blocks.append(Block(0, 0, z, size[0], size[1], step, (0.95, 0.95), 2))
            z += step
        blocks += _roof(rng, blocks[-1], 1)
    return tuple(blocks)


def _roof(rng: np.random.Generator, wall: Block, facade: int) -> list[Block]:
    w, d = wall.w * wall.taper[0], wall.d * wall.taper[1]
    z, kind = wall.z + wall.h, rng.integers(0, 4)
    if kind == 0:  # flat, with a parapet
        return [Block(wall.x, wall.y, z, w * 1.04, d * 1.04, 0.8, (1, 1), facade)]
    if kind == 1:  # pyramid or spire
        return [Block(wall.x, wall.y, z, w, d, min(w, d) * rng.uniform(0.4, 1.6), (0.03, 0.03), facade)]
    if kind == 2:  # gable
        return [Block(wall.x, wall.y, z, w * 1.05, d * 1.05, d * rng.uniform(0.3, 0.7), (1, 0.03), facade)]
    rise, dome = min(w, d) * rng.uniform(0.3, 0.6), []  # dome, in three rings
    for low, high in ((0.0, 0.45), (0.45, 0.8), (0.8, 1.0)):
        size, top = np.sqrt(1 - low**2), np.sqrt(1 - min(high, 0.99) ** 2)
        dome.append(Block(wall.x, wall.y, z + low * rise, w * size, d * size, (high - low) * rise,
                          (top / size, top / size), facade))  # fmt: skip
    return dome


@functools.lru_cache(maxsize=96)
def facades(seed: int, landmark: int) -> tuple[Facade, ...]:
    """Return the textures of a landmark, or of ``CITY``, as pyramids, finest first."""
    rng = np.random.default_rng([seed, landmark + 1, 10**9 + 1])
    wall = _stone(rng)
    trim = np.clip(wall * rng.choice((0.55, 1.25)) + rng.uniform(-15, 15, 3), 0, 255)
    textures = []
    for index in range(CITY_FACADES if landmark == CITY else 3):
        if landmark == CITY:
            wall, trim = _stone(rng), _stone(rng)
        tiles = landmark != CITY and index == 1
        texture = _tiles(rng) if tiles else _facade(rng, wall, trim)
        levels = [texture]
        while levels[-1].shape[0] > 16:
            levels.append(cv2.pyrDown(levels[-1]))
        textures.append(tuple(levels))
    return tuple(textures)


def _stone(rng: np.random.Generator) -> Points:
    """Return a wall colour: mostly warm greys, so that colour alone distinguishes few landmarks."""
    return np.clip(rng.uniform(90, 215) + np.array([12, 2, -14]) + rng.normal(0, 12, 3), 0, 255)


def _facade(rng: np.random.Generator, wall: Points, trim: Points) -> Picture:
    grain = cv2.resize(rng.normal(0, 1, (64, 64)).astype(np.float32), (TEXTURE, TEXTURE))
    texture = np.clip(wall + grain[..., None] * rng.uniform(4, 12), 0, 255).astype(np.uint8)
    for course in range(0, TEXTURE, int(rng.integers(8, 20))):
        cv2.line(texture, (0, course), (TEXTURE, course), (wall * 0.88).tolist(), 1)
    rows, columns = int(rng.integers(1, 6)), int(rng.integers(2, 9))
    cell_h, cell_w = TEXTURE / rows, TEXTURE / columns
    glass = rng.uniform(15, 90) + rng.normal(0, 8, 3) + (0, 4, 14)
    share_w, share_h = rng.uniform(0.3, 0.65), rng.uniform(0.4, 0.75)
    arched, framed, cross, pilasters = rng.random(4) < (0.45, 0.7, 0.5, 0.4)
    for row in range(rows):
        for column in range(columns):
            w, h = cell_w * share_w, cell_h * share_h
            x, y = column * cell_w + (cell_w - w) / 2, row * cell_h + (cell_h - h) / 2
            low, high = (int(x), int(y)), (int(x + w), int(y + h))
            if framed:
                cv2.rectangle(texture, (low[0] - 3, low[1] - 3), (high[0] + 3, high[1] + 3), trim.tolist(), -1)
            cv2.rectangle(texture, low, high, glass.tolist(), -1)
            if arched:
                middle, radius = ((low[0] + high[0]) // 2, low[1]), max(int(w / 2), 1)
                cv2.circle(texture, middle, radius, glass.tolist(), -1, cv2.LINE_AA)
                cv2.circle(texture, middle, radius + 2, trim.tolist(), 2, cv2.LINE_AA)
            if cross:
                middle_x = (low[0] + high[0]) // 2
                cv2.line(texture, (middle_x, low[1]), (middle_x, high[1]), trim.tolist(), 2)
        y = int(row * cell_h)
        cv2.rectangle(texture, (0, y), (TEXTURE, y + int(rng.integers(2, 8))), trim.tolist(), -1)
    if pilasters:
        for column in range(columns + 1):
            cv2.line(texture, (int(column * cell_w), 0), (int(column * cell_w), TEXTURE), trim.tolist(), 6)
    return texture


def _tiles(rng: np.random.Generator) -> Picture:
    colour = rng.uniform((80, 55, 45), (170, 130, 125))
    grain = cv2.resize(rng.normal(0, 9, (48, 48)).astype(np.float32), (TEXTURE, TEXTURE))
    texture = np.clip(colour + grain[..., None], 0, 255).astype(np.uint8)
    step, brick = int(rng.integers(8, 26)), int(rng.integers(12, 40))
    for row, y in enumerate(range(0, TEXTURE, step)):
        cv2.line(texture, (0, y), (TEXTURE, y), (colour * 0.7).tolist(), 1)
        for x in range((row % 2) * brick // 2, TEXTURE, brick):
            cv2.line(texture, (x, y), (x, y + step), (colour * 0.75).tolist(), 1)
    return texture
