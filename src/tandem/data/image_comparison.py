"""Whether two similar images are copies of each other: they are aligned, then compared window by window."""

from functools import cache, partial

import numpy as np

from tandem.data.duplicate_candidates import CENTRE, MIRROR, MIRRORED_CENTRE, Pairs
from tandem.data.image_loader import prefetch
from tandem.data.thumbnails import PART, SIDE, Thumbnails
from tandem.runtime.resources import threads

AT_ONCE = 256  # pairs compared together: with fewer, most of the time goes into calls of NumPy
NOISE = 4.0  # variance of what is left of a copy, in grey levels squared
KNOTS = 9  # of the curve from the grey levels of one image to those of the other
WINDOW = 7  # pixels
DIFFERENT = 0.2  # of a window: variance of the difference / variance of both; 0 in copies, 1 in unlike images
LEAST_MATCH = 0.6  # correlation of the details; near-uniform images have none
# difference of the colours / their strength; copies reach 0.55, and grey levels alone can't tell red from blue
COLOUR = 0.7


def mismatch(thumbnails: Thumbnails, pairs: Pairs) -> np.ndarray:
    """(m,) share of the details of a pair that differ: 0 in copies, 1 where the images as a whole are unlike.

    Position, size, brightness and contrast don't matter.
    """
    blocks = (pairs.take(np.arange(start, min(start + AT_ONCE, len(pairs)))) for start in range(0, len(pairs), AT_ONCE))
    return np.concatenate([*prefetch(partial(_mismatch, thumbnails), blocks, threads()), np.zeros(0)])


def _mismatch(thumbnails: Thumbnails, pairs: Pairs) -> np.ndarray:
    flip = np.isin(pairs.version, (MIRROR, MIRRORED_CENTRE))
    (one, colour), (other, colours) = (
        [part.astype(np.float32) for part in thumbnails.take(rows.tolist())] for rows in (pairs.first, pairs.second)
    )
    other[flip] = other[flip, :, ::-1]
    colours[flip] = colours[flip, ..., ::-1]
    out = np.ones(len(pairs))
    like = _colour_difference(colour, colours) < COLOUR
    moved = np.zeros((len(pairs), 4), np.float32)
    moved[:, [0, 2]] = np.where(np.isin(pairs.version, (CENTRE, MIRRORED_CENTRE)), PART, 1)[:, None]
    for side, steps in ((SIDE // 2, 6), (SIDE, 4)):
        rows = np.flatnonzero(like)
        moved[rows] = _aligned(_smaller(one[rows], side), _smaller(other[rows], side), moved[rows], steps)
        if side < SIDE:  # most pairs of unlike images end here
            like[rows] = _differing(_smaller(one[rows], side), _smaller(other[rows], side), moved[rows]) < 1
    rows = np.flatnonzero(like)
    out[rows] = _differing(one[rows], other[rows], moved[rows])
    return out


def _colour_difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    strength = (np.abs(one - 128) + np.abs(other - 128)).mean(axis=(1, 2, 3)) / 2
    return np.abs(one - other).mean(axis=(1, 2, 3)) / (strength + 4)  # 4: noise


def _smaller(images: np.ndarray, side: int) -> np.ndarray:
    """(m, side, side) means over blocks."""
    block = images.shape[1] // side
    return images.reshape(len(images), side, block, side, block).mean(axis=(2, 4))


@cache
def _gaussian(side: int, sigma: float) -> np.ndarray:
    offset = np.arange(side)[:, None] - np.arange(side)
    weight = np.exp(-0.5 * (offset / sigma) ** 2)
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


def _blurred(images: np.ndarray, sigma: float) -> np.ndarray:
    kernel = _gaussian(images.shape[1], sigma)
    return kernel @ images @ kernel.T


def _sampled(images: np.ndarray, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(pixels, inside), each (m, side, side): images scaled about their centre and shifted, and what lies in them.

    `moved` (m, 4): scale and shift of x, scale and shift of y; a shift in units of the side.
    """
    side = images.shape[1]
    place = (np.arange(side) - (side - 1) / 2).astype(np.float32)
    x = moved[:, 0:1] * place + moved[:, 1:2] * side + (side - 1) / 2
    y = moved[:, 2:3] * place + moved[:, 3:4] * side + (side - 1) / 2
    along_x, along_y = (np.maximum(0, 1 - np.abs(at[:, :, None] - np.arange(side))) for at in (x, y))
    within_x, within_y = ((at >= 0) & (at <= side - 1) for at in (x, y))
    return along_y @ images @ along_x.transpose(0, 2, 1), within_y[:, :, None] & within_x[:, None, :]


def _aligned(one: np.ndarray, other: np.ndarray, moved: np.ndarray, steps: int) -> np.ndarray:
    """`moved` such that `other`, sampled by it, is most like `one` up to contrast and brightness.

    Gauss-Newton steps. Source: Lucas and Kanade 1981, "An iterative image registration technique".
    """
    m, side = len(one), one.shape[1]
    one, other = _blurred(one, 1.2), _blurred(other, 1.2)
    place = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / side
    for _ in range(steps):
        pixels, inside = _sampled(other, moved)
        by_y, by_x = np.gradient(pixels, axis=(1, 2))
        by_x, by_y = side * by_x / moved[:, 0, None, None], side * by_y / moved[:, 2, None, None]
        columns = [by_x * place, by_x, by_y * place[:, None], by_y, pixels, np.ones_like(pixels)]
        jacobian = (np.stack(columns, axis=-1) * inside[..., None]).reshape(m, side**2, 6)
        transposed = jacobian.transpose(0, 2, 1)
        normal = transposed @ jacobian + np.eye(6, dtype=np.float32)
        step = np.linalg.solve(normal, transposed @ (one * inside).reshape(m, side**2, 1))[..., 0]
        contrast = np.maximum(step[:, 4:5], 0.1)
        moved = moved + np.clip(step[:, :4] / contrast, -0.03, 0.03)
        moved = np.clip(moved, [0.8, -0.12, 0.8, -0.12], [1.25, 0.12, 1.25, 0.12]).astype(np.float32)
    return moved


def _differing(one: np.ndarray, other: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """(m,) `mismatch` of aligned images.

    Each is predicted from the other, as one of them may have lost its brightest or darkest parts.
    """
    one = _blurred(one, 0.6)
    pixels, inside = _sampled(_blurred(other, 0.6), moved)
    inside = _window_sum(inside.astype(np.float32)) > WINDOW**2 - 1  # the edges of a crop are resized differently
    return np.minimum(_unexplained(one, pixels, inside), _unexplained(pixels, one, inside))


def _unexplained(source: np.ndarray, target: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(m,) share of the details of `target` that the grey levels of `source` don't give."""
    expected, within = _translated(source, target, inside), inside.astype(np.float32)
    area = np.maximum(_window_sum(within), 1)
    details = [(image - _window_sum(image * within) / area) * within for image in (target, expected)]
    variance = sum(_window_sum(detail**2) / area for detail in details)
    residual = _window_sum((details[0] - details[1]) ** 2) / area
    weight = np.sqrt(np.maximum(variance, 0)) * within
    wrong = residual > DIFFERENT * (variance + 2 * NOISE)
    share = (weight * wrong).sum(axis=(1, 2)) / np.maximum(weight.sum(axis=(1, 2)), 1e-9)
    both = sum((detail**2).sum(axis=(1, 2)) for detail in details) + 2 * NOISE * within.sum(axis=(1, 2))
    match = 2 * (details[0] * details[1]).sum(axis=(1, 2)) / both
    return np.where(match < LEAST_MATCH, 1.0, share)


def _window_sum(images: np.ndarray) -> np.ndarray:
    side = images.shape[1]
    box = (np.abs(np.arange(side)[:, None] - np.arange(side)) <= WINDOW // 2).astype(np.float32)
    return box @ images @ box


def _translated(source: np.ndarray, target: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """`source` with its grey levels mapped to those of `target` by a rising curve, a line between each two knots."""
    m, pixels = len(source), source.shape[1] ** 2
    low = np.where(inside, source, np.inf).min(axis=(1, 2), keepdims=True)
    high = np.where(inside, source, -np.inf).max(axis=(1, 2), keepdims=True)
    level = (source - low) / np.maximum(high - low, 1) * (KNOTS - 1)
    hats = np.maximum(0, 1 - np.abs(level[..., None] - np.arange(KNOTS, dtype=np.float32))).reshape(m, pixels, KNOTS)
    weighted = (hats * inside.reshape(m, pixels, 1)).transpose(0, 2, 1)
    bend = np.diff(np.eye(KNOTS, dtype=np.float32), 2, axis=0)  # keeps knots without pixels on a line
    normal = weighted @ hats + 2 * bend.T @ bend + 1e-3 * np.eye(KNOTS, dtype=np.float32)
    knots = np.linalg.solve(normal, weighted @ target.reshape(m, pixels, 1))
    return (hats @ np.maximum.accumulate(knots, axis=1)).reshape(source.shape)
