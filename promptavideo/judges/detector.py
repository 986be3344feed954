"""What a clip of the synthetic world shows, measured from its pixels with OpenCV and scikit-image.

Backgrounds are gray, so the one object is found by its chroma. Chroma is linear in RGB: blur, anti-aliasing, dim light
and washed-out colour only scale or soften it, so the chroma relative to its own peak estimates the object's coverage.
"""

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.measure import blur_effect

from promptavideo.errors import ScoreError
from promptavideo.miniature.world import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, SIZE, Scene, render

Floats = NDArray[np.float32]

BLUR_WINDOW = 19  # px, of `blur_effect`; of 3 to 25 the one that told focus best after the miniature's VAE
PATCH = 19  # px; holds the largest object with its blur
# Full agreement with a colour up to the first angle, none from the second on; the world's hues are >= 55 apart.
HUE_FULL_DEG, HUE_NONE_DEG = 10.0, 45.0
SHAPE_TEMPERATURE = 0.005  # of template correlations
STILL_PX = 0.35  # px a frame; slower motion counts as a direction only in part
PLAIN_CONTRAST = 0.08  # relative pattern amplitude at which a background is as much plain as patterned
MIN_CHROMA, MIN_RELATIVE_CHROMA, MIN_CHROMA_TO_NOISE = 0.008, 0.05, 3.2  # an object's, against luma and background
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What one clip shows. Lengths are px of a 32 x 32 frame, brightness is 0..1.

    The labels are None where nothing can be told: no object, or no path. The evidence maps every label to 0..1, with 0
    for all when nothing can be told.
    """

    colour: str | None = None
    shape: str | None = None
    motion: str | None = None
    background: str
    frames: int
    colour_evidence: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(COLOURS, 0.0))
    shape_evidence: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(SHAPES, 0.0))
    motion_evidence: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(MOTIONS, 0.0))
    background_evidence: Mapping[str, float]
    speed: float = 0.0
    """Length of the straight-line fit's velocity, px a frame."""
    jitter: float = 0.0
    """Root mean square distance of the centroids from the straight-line fit, px."""
    sharpness: float = 0.0
    """skimage's `blur_effect` of the object's coverage, from the world's fully blurred (0) to its sharp renders (1)."""
    flicker: float
    """Standard deviation of the background's brightness over the frames, around its linear trend, over its mean."""
    exposure: float
    """Mean brightness of the background."""
    saturation: float = 0.0
    """HSV saturation of the object's core, 0..1."""
    vividness: float = 0.0
    """Chroma over brightness of the object's core, relative to the world's pure colour of that name; 1 is as vivid."""

    @property
    def found(self) -> bool:
        """Whether the clip shows a coloured object."""
        return self.colour is not None


def detect(frames: NDArray[np.uint8]) -> Detection:
    """Measure one clip.

    Args:
        frames: uint8 RGB [T, H, W, 3], T >= 1. Frames of another size are resized to 32 x 32 first.

    Raises:
        ScoreError: `frames` is no such array.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise ScoreError(f"a clip must be uint8 [T, H, W, 3], this one is {frames.dtype} {list(frames.shape)}")
    if frames.shape[1:3] != (SIZE, SIZE):
        frames = np.stack([cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for frame in frames])
    rgb, luma = _float(frames)
    coverage = _coverage(rgb, luma)
    level, contrasts = _background(luma, np.zeros_like(luma) if coverage is None else coverage)
    backgrounds = _background_evidence(contrasts)
    ground = Detection(
        background=_best(backgrounds),
        frames=len(frames),
        background_evidence=backgrounds,
        flicker=_flicker(level),
        exposure=float(level.mean()),
    )
    if coverage is None:
        return ground
    colour, colours, saturation, vividness = _paint(rgb, coverage)
    shapes = _shape_evidence(coverage)
    velocity, jitter = _path(coverage)
    motions = _motion_evidence(velocity)
    return replace(
        ground,
        colour=colour,
        shape=_best(shapes),
        motion=_best(motions) if any(motions.values()) else None,
        colour_evidence=colours,
        shape_evidence=shapes,
        motion_evidence=motions,
        speed=float(np.hypot(*velocity)),
        jitter=jitter,
        sharpness=_sharpness(coverage, _best(shapes)),
        saturation=saturation,
        vividness=vividness,
    )


def _float(frames: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Frames and their brightness as floats in 0..1."""
    rgb: Floats = np.divide(frames, 255, dtype=np.float32)
    return rgb, rgb @ LUMA


def _coverage(rgb: Floats, luma: Floats) -> Floats | None:
    """Coverage [T, 32, 32] in 0..1 of the one coloured object, or None if there is none.

    Args:
        rgb: Frames [T, 32, 32, 3] in 0..1.
        luma: Their brightness [T, 32, 32].
    """
    chroma = rgb[..., [0, 2]] - luma[..., None]
    chroma -= np.median(chroma, axis=(1, 2), keepdims=True)  # a decoder's tint of the gray
    length = np.linalg.norm(chroma, axis=-1, keepdims=True)
    axis = (chroma * length**2).sum(axis=(0, 1, 2))
    norm = float(np.linalg.norm(axis))
    if norm == 0:
        return None
    along = chroma @ (axis / norm).astype(np.float32)  # the object's own chroma; noise of other hues drops out
    smooth = np.stack([cv2.GaussianBlur(frame, (3, 3), 0.8) for frame in along])
    top = SIZE * SIZE // 32  # px, well inside the smallest object
    peaks = np.partition(smooth.reshape(len(smooth), -1), -top, axis=1)[:, -top:].mean(axis=1)
    peak = float(np.median(peaks))
    noise = 1.48 * float(np.median(np.abs(smooth)))
    if peak < max(MIN_CHROMA, MIN_RELATIVE_CHROMA * float(luma.mean()), MIN_CHROMA_TO_NOISE * noise):
        return None
    scale = np.maximum(peaks, 0.4 * peak)[:, None, None]  # flicker scales a frame; one that lost its object stays empty
    windows = np.stack([_largest_blob(frame) for frame in smooth / scale])
    coverage = np.clip(along / scale, 0, 1) * windows
    return coverage if coverage.any() else None


def _largest_blob(relative: Floats) -> Floats:
    """1 on the heaviest connected region above 0.35 and a margin of its soft edge, else 0; [H, W]."""
    count, labels = cv2.connectedComponents((relative > 0.35).astype(np.uint8))
    if count == 1:
        return np.zeros_like(relative)
    mass = np.bincount(labels.ravel(), weights=relative.ravel(), minlength=count)
    blob = (labels == 1 + int(np.argmax(mass[1:]))).astype(np.uint8)
    return cv2.dilate(blob, np.ones((7, 7), np.uint8)).astype(np.float32)


def _paint(rgb: Floats, coverage: Floats) -> tuple[str, dict[str, float], float, float]:
    """Colour name, its evidence, HSV saturation and vividness of the object's core."""
    core = np.maximum(coverage - min(0.95, 0.9 * float(coverage.max())), 0)
    red, green, blue = ((rgb * core[..., None]).sum(axis=(0, 1, 2)) / core.sum()).tolist()
    hue, saturation, _ = colorsys.rgb_to_hsv(red, green, blue)
    apart = {name: 360 * abs((hue - colorsys.rgb_to_hsv(*pure)[0] + 0.5) % 1 - 0.5) for name, pure in COLOURS.items()}
    nearest = min(apart, key=lambda name: apart[name])
    evidence = {
        name: float(np.clip((HUE_NONE_DEG - angle) / (HUE_NONE_DEG - HUE_FULL_DEG), 0, 1))
        for name, angle in apart.items()
    }
    vividness = _chroma_ratio((red, green, blue)) / _chroma_ratio(COLOURS[nearest])
    return nearest, evidence, saturation, vividness


def _chroma_ratio(rgb: tuple[float, float, float]) -> float:
    luma = float(np.dot(rgb, LUMA))
    return float(np.hypot(rgb[0] - luma, rgb[2] - luma)) / max(luma, 1e-6)


def _centroids(coverage: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Soft centroids [T, 2] as (x, y) in px, and each frame's object area [T] in px."""
    solid = np.clip(coverage - 0.2, 0, None).astype(np.float64)  # the faint rim is where noise lives
    area = solid.sum(axis=(1, 2))
    grid = np.arange(SIZE, dtype=np.float64)
    safe = np.maximum(area, 1e-9)
    return np.stack([solid.sum(axis=1) @ grid / safe, solid.sum(axis=2) @ grid / safe], axis=1), area


def _path(coverage: Floats) -> tuple[NDArray[np.float64], float]:
    """Velocity (dx, dy) in px a frame and root mean square residual in px of a straight-line fit to the centroids."""
    centres, area = _centroids(coverage)
    seen = np.flatnonzero(area > 0.25 * np.median(area[area > 0]))
    if len(seen) < 2:
        return np.zeros(2), 0.0
    design = np.stack([seen.astype(float), np.ones(len(seen))], axis=1)
    fit, *_ = np.linalg.lstsq(design, centres[seen], rcond=None)
    freedom = max(len(seen) - 2, 1)
    return fit[0], float(np.sqrt(((centres[seen] - design @ fit) ** 2).sum() / freedom))


def _motion_evidence(velocity: NDArray[np.float64]) -> dict[str, float]:
    speed = float(np.hypot(*velocity))
    if speed == 0:
        return dict.fromkeys(MOTIONS, 0.0)
    sure = min(speed / STILL_PX, 1.0)
    return {name: sure * max(float(velocity @ np.array(way)) / speed, 0.0) for name, way in MOTIONS.items()}


def _patch(coverage: Floats) -> NDArray[np.float64]:
    """Mean of the frames' objects, each centred on its centroid, as a zero-mean unit vector [PATCH * PATCH].

    Frames that cut the object off are left out, unless all do.
    """
    centres, area = _centroids(coverage)
    rim = coverage[:, [0, -1]].sum(axis=(1, 2)) + coverage[:, :, [0, -1]].sum(axis=(1, 2))
    seen = area > 0.25 * np.median(area[area > 0])
    whole = seen & (rim < 1.0)
    chosen = np.flatnonzero(whole if whole.any() else seen)
    margin = PATCH // 2 + 1
    total = np.zeros((PATCH, PATCH))
    for index in chosen:
        padded = cv2.copyMakeBorder(coverage[index], margin, margin, margin, margin, cv2.BORDER_CONSTANT)
        x, y = centres[index] + margin
        total += cv2.getRectSubPix(padded, (PATCH, PATCH), (float(x), float(y)))
    vector = total.ravel() - total.mean()
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


@cache
def _references(shape: str, focus: float) -> tuple[Floats, ...]:
    """Coverages of a few of the world's own renders of a shape, blurred by `focus`."""
    found = []
    for index, motion in enumerate(MOTIONS):
        scene = Scene("red", shape, motion, "wall").with_flaw("focus", focus)
        coverage = _coverage(*_float(render(scene, np.random.default_rng(index))))
        assert coverage is not None, f"the world's own {shape} is not found"
        found.append(coverage)
    return tuple(found)


@cache
def _shape_templates() -> dict[str, NDArray[np.float64]]:
    """Per shape, patches [K, PATCH * PATCH] at rising blur."""
    blurs = (0.0, 0.25, 0.5, 0.75, 1.0)
    return {
        shape: np.stack([_patch(coverage) for focus in blurs for coverage in _references(shape, focus)])
        for shape in SHAPES
    }


def _shape_evidence(coverage: Floats) -> dict[str, float]:
    """Softmax of each shape's best correlation with the object, over blur."""
    patch = _patch(coverage)
    correlations = {shape: float((rows @ patch).max()) for shape, rows in _shape_templates().items()}
    logits = (np.array(list(correlations.values())) - max(correlations.values())) / SHAPE_TEMPERATURE
    weights = np.exp(logits) / np.exp(logits).sum()
    return dict(zip(correlations, weights.tolist(), strict=True))


def _blur(coverage: Floats) -> float:
    """skimage's `blur_effect` of all frames' coverage, stacked into one column; 0 (sharp) to 1."""
    column = np.pad(coverage, ((0, 0), (2, 2), (0, 0)), mode="edge").reshape(-1, SIZE)
    return float(blur_effect(column, h_size=BLUR_WINDOW))


@cache
def _blur_ends(shape: str) -> tuple[float, float]:
    """Blur of the world's own sharp and fully blurred renders of a shape: outlines differ in it."""
    sharp, blurred = (float(np.mean([_blur(coverage) for coverage in _references(shape, focus)])) for focus in (0, 1))
    return sharp, blurred


def _sharpness(coverage: Floats, shape: str) -> float:
    sharp, blurred = _blur_ends(shape)
    return (blurred - _blur(coverage)) / (blurred - sharp)


@cache
def _pattern_basis() -> Floats:
    """Functions of the pixels [9, 32 * 32]: constant, horizon step and its shift, stripes (2 phases), tiles (4)."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    step = np.tanh((y - SIZE / 2 + 0.5) / 1.5)
    wave = 2 * np.pi / 16
    sx, cx, sy, cy = np.sin(wave * x), np.cos(wave * x), np.sin(wave * y), np.cos(wave * y)
    rows = [np.ones_like(x), step, 1 - step**2, sx, cx, sx * sy, sx * cy, cx * sy, cx * cy]
    return np.stack(rows).reshape(len(rows), -1).astype(np.float32)


def _background(luma: Floats, coverage: Floats) -> tuple[NDArray[np.float64], dict[str, float]]:
    """Brightness a frame [T], and the patterns' mean amplitudes relative to it, from a fit outside the object."""
    basis = _pattern_basis().astype(np.float64)
    outside = np.stack([cv2.dilate(frame, np.ones((3, 3), np.uint8)) for frame in coverage]) < 0.1
    weights = outside.reshape(len(luma), 1, -1) + 1e-6
    gram = (basis * weights) @ basis.T + 1e-3 * np.eye(len(basis))
    fit = np.linalg.solve(gram, (basis * weights) @ luma.reshape(len(luma), -1, 1).astype(np.float64))[..., 0]
    level = np.maximum(fit[:, 0], 0.0)
    relative = fit[:, 1:] / max(float(level.mean()), 1e-3)
    return level, {
        "horizon": float(np.maximum(-relative[:, 0], 0).mean()),
        "stripes": float(np.linalg.norm(relative[:, 2:4], axis=1).mean()),
        "tiles": float(np.linalg.norm(relative[:, 4:8], axis=1).mean()),
    }


def _background_evidence(contrasts: dict[str, float]) -> dict[str, float]:
    """Each kind's share of the squared contrast, a plain wall standing in with `PLAIN_CONTRAST`."""
    power = {kind: contrasts.get(kind, PLAIN_CONTRAST) ** 2 for kind in BACKGROUNDS}
    total = sum(power.values())
    return {kind: value / total for kind, value in power.items()}


def _flicker(level: NDArray[np.float64]) -> float:
    if len(level) < 3 or level.mean() <= 0:
        return 0.0
    time = np.arange(len(level))
    rest = level - np.polyval(np.polyfit(time, level, 1), time)
    return float(np.sqrt((rest**2).sum() / (len(level) - 2)) / level.mean())


def _best(evidence: Mapping[str, float]) -> str:
    return max(evidence, key=lambda label: evidence[label])
