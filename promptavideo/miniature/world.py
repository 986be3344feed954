"""A synthetic world of moving shapes whose captions really govern the video.

A scene has four *content* factors (colour, shape, motion, background) and six *quality* factors (focus, light
steadiness, speed, camera, saturation, exposure). A quality factor has a flaw strength in 0..1: 0 is the good end, 1 the
bad end. A caption always tells most of the content and any subset of the quality; what it leaves out is drawn at
random, so a short prompt gets random quality and a detailed one steers it.
"""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

FRAMES, SIZE = 8, 32  # a clip is [8, 32, 32, 3]
RADIUS_PX = 6.0

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.82, 0.08, 0.08),
    "yellow": (0.80, 0.74, 0.06),
    "green": (0.08, 0.70, 0.12),
    "blue": (0.10, 0.22, 0.82),
    "purple": (0.66, 0.10, 0.78),
}
SHAPES = ("ball", "box", "triangle")
MOTIONS: dict[str, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}  # (dx, dy)
BACKGROUNDS = ("wall", "tiles", "stripes", "horizon")
QUALITIES = ("focus", "light", "speed", "camera", "saturation", "exposure")
IN_TIME = ("light", "speed", "camera")
"""The qualities of which an image shows nothing."""

SHAPE_WORDS = {
    "ball": ("ball", "circle", "sphere"),
    "box": ("box", "square", "cube"),
    "triangle": ("triangle", "pyramid", "cone"),
}
MOTION_WORDS = {
    "left": ("moving to the left", "drifting left", "rolling leftward", "sliding to the left"),
    "right": ("moving to the right", "drifting right", "rolling rightward", "sliding to the right"),
    "up": ("moving up", "rising", "floating upward", "going up"),
    "down": ("moving down", "falling", "sinking downward", "going down"),
}
BACKGROUND_WORDS = {
    "wall": ("in front of a plain wall", "against a plain gray backdrop", "before a blank wall"),
    "tiles": ("on a tiled floor", "over a chessboard", "across checkered tiles"),
    "stripes": ("in front of a striped curtain", "against vertical stripes", "before a striped wall"),
    "horizon": ("above the horizon", "under a pale sky", "over a dark field under a light sky"),
}

# (good, bad) wordings of each quality factor. The operator's phrase bank and the captions share these words: a frozen
# text encoder carries unseen bundles of them well, unseen words badly.
QUALITY_WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "focus": (
        ("in sharp focus", "crisp details", "sharp clean edges", "high definition", "finely detailed", "crystal clear"),
        ("blurry", "out of focus", "soft hazy edges", "low resolution", "smeared details", "foggy"),
    ),
    "light": (
        ("steady lighting", "smooth consistent light", "constant brightness", "stable even light", "no flicker"),
        ("flickering light", "strobing", "unstable brightness", "pulsing light", "light that flashes on and off"),
    ),
    "speed": (
        ("fast motion", "moving quickly", "energetic movement", "dynamic action", "at high speed", "racing along"),
        ("slow motion", "barely moving", "sluggish movement", "almost still", "creeping slowly", "lazy pace"),
    ),
    "camera": (
        ("steady camera", "filmed on a tripod", "stable smooth shot", "fixed camera", "locked-off shot"),
        ("shaky camera", "handheld jitter", "trembling shot", "unstable camera", "wobbling footage"),
    ),
    "saturation": (
        ("vivid colors", "rich saturated colors", "vibrant hues", "colorful", "intense bold color"),
        ("washed-out colors", "faded", "pale dull colors", "desaturated", "grayish tones"),
    ),
    "exposure": (
        ("bright lighting", "well lit", "brightly illuminated", "bright daylight", "glowing bright scene"),
        ("dim lighting", "dark and underexposed", "poorly lit", "gloomy", "murky darkness"),
    ),
}


@dataclass(frozen=True)
class Placement:
    """Where paths lie: at most `across_px` beside the centre, their middle `lead_px` ahead of it in their direction.

    A narrow path ahead of the centre is what a small model can learn: direction, speed and time fix the place, and the
    direction tells on which side it is even before time is understood. With the middle of every path in the centre,
    only the three together tell anything, and motion stayed at chance.
    """

    across_px: float = 1.0
    lead_px: float = 2.5


ANYWHERE = Placement(across_px=4.5, lead_px=0.0)
"""Wide paths, for a VAE that should see a shape in all places."""


@dataclass(frozen=True)
class Scene:
    """What a clip shows; `flaws` maps each quality factor to a strength in 0..1 (0 good, 1 bad)."""

    colour: str
    shape: str
    motion: str
    background: str
    flaws: dict[str, float] = field(default_factory=lambda: dict.fromkeys(QUALITIES, 0.0))

    def with_flaw(self, quality: str, strength: float) -> "Scene":
        """The same scene with one flaw set to `strength` (0..1)."""
        return replace(self, flaws={**self.flaws, quality: strength})


def random_scene(rng: np.random.Generator) -> Scene:
    """A scene with uniform content and, for each quality factor, a fair coin between its good and its bad end."""
    bad = rng.random(len(QUALITIES)) < 0.5
    strength = np.where(bad, rng.uniform(0.8, 1.0, len(bad)), rng.uniform(0.0, 0.1, len(bad)))
    return Scene(
        colour=str(rng.choice(list(COLOURS))),
        shape=str(rng.choice(SHAPES)),
        motion=str(rng.choice(list(MOTIONS))),
        background=str(rng.choice(BACKGROUNDS)),
        flaws=dict(zip(QUALITIES, strength.tolist(), strict=True)),
    )


def render(
    scene: Scene, rng: np.random.Generator, placement: Placement = Placement(), frames: int = FRAMES
) -> NDArray[np.uint8]:
    """Render a clip [frames, 32, 32, 3] (RGB). `rng` draws the path's offset, the shake and the flicker."""
    flaw = scene.flaws
    step = 2.3 - 1.7 * flaw["speed"]  # px a frame
    direction = np.array(MOTIONS[scene.motion], float)
    along, across = rng.uniform(-1, 1), rng.uniform(-placement.across_px, placement.across_px)
    centre = SIZE / 2 - 0.5 + direction * (placement.lead_px + along) + direction[::-1] * across
    time = np.arange(frames) - (frames - 1) / 2
    shake = rng.uniform(-1, 1, (frames, 2)) * 2.5 * flaw["camera"]
    path = centre + time[:, None] * step * direction + shake  # [T, 2] as (x, y)

    grid_y, grid_x = np.mgrid[:SIZE, :SIZE].astype(float)
    luma = _background(scene.background, grid_x[None] - shake[:, 0, None, None], grid_y[None] - shake[:, 1, None, None])
    alpha = _coverage(scene.shape, grid_x[None] - path[:, 0, None, None], grid_y[None] - path[:, 1, None, None])
    colour = np.array(COLOURS[scene.colour])
    gray = colour @ np.array([0.3, 0.59, 0.11])
    colour = colour + (gray - colour) * 0.7 * flaw["saturation"]
    clip = luma[..., None] * (1 - alpha[..., None]) + colour * alpha[..., None]

    flicker = rng.permutation(np.resize([-1.0, 1.0], frames)) * rng.uniform(0.8, 1.0, frames)
    clip = clip * (1 + 0.25 * flaw["light"] * flicker)[:, None, None, None] * (1 - 0.55 * flaw["exposure"])
    if flaw["focus"] > 0.02:
        sigma = 1.7 * flaw["focus"]
        clip = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for frame in clip])
    return np.round(np.clip(clip, 0, 1) * 255).astype(np.uint8)


def render_still(scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Render an image [32, 32, 3] (RGB): the middle of a clip's path, without the flaws that time alone shows."""
    return render(replace(scene, flaws=scene.flaws | dict.fromkeys(IN_TIME, 0.0)), rng, frames=1)[0]


def _background(kind: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gray level [T, H, W] in 0..1 of a background at (shaken) pixel coordinates."""
    soft = {"x": np.tanh(2.5 * np.sin(np.pi * x / 8)), "y": np.tanh(2.5 * np.sin(np.pi * y / 8))}
    if kind == "tiles":
        return 0.55 + 0.15 * soft["x"] * soft["y"]
    if kind == "stripes":
        return 0.55 + 0.15 * soft["x"]
    if kind == "horizon":
        return 0.55 - 0.2 * np.tanh((y - 15.5) / 0.7)
    return np.full(np.broadcast_shapes(x.shape, y.shape), 0.55)


def _coverage(shape: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Anti-aliased coverage [T, H, W] in 0..1 of a shape centred on the origin."""
    if shape == "ball":
        distance = np.hypot(x, y) - RADIUS_PX
    elif shape == "box":
        distance = np.maximum(np.abs(x), np.abs(y)) - 0.9 * RADIUS_PX
    else:  # a triangle, apex up; its sides run from the apex to the base corners
        sides = (2 * np.abs(x) - y - RADIUS_PX) / np.sqrt(5)
        distance = np.maximum(sides, y - RADIUS_PX)
    return np.clip(0.5 - distance, 0, 1)


def caption(scene: Scene, rng: np.random.Generator, quality_rate: float | None = None) -> str:
    """A natural-language caption of a scene.

    Args:
        scene: What the clip shows.
        rng: Draws the wording and which factors are named.
        quality_rate: Chance that a quality factor is named; drawn uniformly from 0..1 when None.
    """
    pick = lambda words: str(rng.choice(words))  # noqa: E731
    rate = rng.random() if quality_rate is None else quality_rate
    tags = []
    for quality in rng.permutation(QUALITIES):
        if rng.random() < rate:
            tags.append(pick(QUALITY_WORDS[quality][scene.flaws[quality] > 0.5]))
    noun = f"{scene.colour} {pick(SHAPE_WORDS[scene.shape])}"
    parts = [f"a {noun}", pick(MOTION_WORDS[scene.motion])]
    if rng.random() < 0.85:
        parts.append(pick(BACKGROUND_WORDS[scene.background]))
    content = " ".join(parts)
    if rng.random() < 0.25:
        content = pick(("a video of ", "a short clip of ", "footage of ")) + content
    split = int(rng.integers(0, len(tags) + 1)) if rng.random() < 0.3 else 0
    before, after = tags[:split], tags[split:]
    style = rng.integers(3)
    if style == 0 or not after:
        text = ", ".join([*before, content, *after]) + "."
    elif style == 1:
        text = ", ".join([*before, content]) + ". " + ", ".join(after).capitalize() + "."
    else:
        text = ", ".join([*before, content]) + ". " + " ".join(f"{tag.capitalize()}." for tag in after)
    return text[0].upper() + text[1:] if rng.random() < 0.7 else text
