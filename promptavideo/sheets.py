"""Figures of videos: frames side by side, with the texts that they were filmed from.

The same input gives the same bytes. Text is drawn as it is, never as mathematics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from promptavideo.drawing import PALE, Page, saved, shades
from promptavideo.tables import BASELINE
from promptavideo.video import Clip
from promptavideo.viewing import Size, fitted


@dataclass(frozen=True, eq=False)
class SheetRow:
    """The user's prompt and (refiner, refined text, clip) of each video shown for it."""

    prompt: str
    videos: Sequence[tuple[str, str, Clip]]


def contact_sheet(rows: Sequence[SheetRow], path: Path, frames: int = 4) -> None:
    """Show the videos of several refiners side by side, with the text that each was filmed from below it.

    Small frames are enlarged by a whole factor (nearest neighbour, so pixels stay pixels), large ones are shrunk.

    Args:
        rows: One row a prompt.
        path: Target, `.png`.
        frames: How many evenly spaced frames to show of each video.
    """
    layout = _Sheet(rows, [[_strip(clip, frames) for _, _, clip in row.videos] for row in rows])
    with saved(path, layout.inches, layout.dpi, layout=None) as figure:
        layout.draw(figure)


def strips(rows: Sequence[SheetRow], path: Path, printed: Path, frames: int = 5) -> None:
    """Show videos as strips of frames with their texts beside them, as wide as a page of a paper.

    Args:
        rows: One block a prompt.
        path: Target, `.png`.
        printed: The same as `.pdf`, in which text is text.
        frames: How many evenly spaced frames to show of each video.
    """
    layout = _Strips(rows, [[_evenly(clip, frames) for _, _, clip in row.videos] for row in rows])
    with saved(path, layout.inches, layout.dpi, layout=None, printed=printed) as figure:
        layout.draw(figure)


def _evenly(clip: Clip, count: int) -> NDArray[np.uint8]:
    """Evenly spaced frames, the first and the last among them, uint8 RGB [at most count, H, W, 3]."""
    length = len(clip.frames)
    picked: NDArray[np.uint8] = clip.frames[np.linspace(0, length - 1, min(count, length)).round().astype(int)]
    return picked


def _strip(clip: Clip, count: int) -> NDArray[np.uint8]:
    """Evenly spaced frames side by side on white, uint8 RGB [h, w, 3]."""
    picked = _evenly(clip, count)
    height, width = picked.shape[1:3]
    side = max(height, width)
    if side <= _Sheet.SMALL:
        factor = _Sheet.SMALL // side
        shown = picked.repeat(factor, axis=1).repeat(factor, axis=2)
    else:
        scale = min(1.0, _Sheet.LARGE / side)
        target = (max(1, round(width * scale)), max(1, round(height * scale)))
        shown = np.stack([cv2.resize(frame, target, interpolation=cv2.INTER_AREA) for frame in picked])
    gap = np.full((shown.shape[1], _Sheet.FRAME_GAP, 3), 255, np.uint8)
    parts = [part for frame in shown for part in (gap, frame)][1:]
    return np.concatenate(parts, axis=1)


def _colours(rows: Sequence[SheetRow]) -> dict[str, str]:
    return shades([refiner for row in rows for refiner, _, _ in row.videos], BASELINE)


class _Sheet(Page):
    """The layout of a contact sheet, in pixels from the top left corner."""

    SMALL, LARGE = 128, 192  # the longest side of a frame, for clips that are enlarged and for those that are shrunk
    MARGIN, FRAME_GAP, COLUMN_GAP, ROW_GAP, PAD = 28, 4, 32, 26, 8
    PROMPT_LINES, TEXT_LINES = 3, 9
    PROMPT, LABEL, TEXT = (12.0, "bold"), (10.0, "bold"), (9.5, "normal")  # (points, weight)

    def __init__(self, rows: Sequence[SheetRow], strips: Sequence[Sequence[NDArray[np.uint8]]]) -> None:
        """Wrap every text and find the size of the sheet."""
        columns = max(len(strip_row) for strip_row in strips)
        self._column = max([260, *(strip.shape[1] for strip_row in strips for strip in strip_row)])
        super().__init__(100, 2 * self.MARGIN + columns * self._column + (columns - 1) * self.COLUMN_GAP, 1.35)
        self._rows, self._strips = rows, strips
        inner = self.width - 2 * self.MARGIN
        self._prompts = [self.wrap(row.prompt, self.PROMPT, inner, self.PROMPT_LINES) for row in rows]
        self._texts = [
            [self.wrap(text, self.TEXT, self._column, self.TEXT_LINES) for _, text, _ in row.videos] for row in rows
        ]
        self._heights = [self._row_height(index) for index in range(len(rows))]
        self.height = 2 * self.MARGIN + sum(self._heights) + self.ROW_GAP * (len(rows) - 1)

    def draw(self, figure: Figure) -> None:
        """Put texts and frames onto a figure of exactly `width` by `height` pixels."""
        top = self.MARGIN
        colours = _colours(self._rows)
        for index, row in enumerate(self._rows):
            if index:
                line = 1 - (top - self.ROW_GAP / 2) / self.height
                edges = [self.MARGIN / self.width, 1 - self.MARGIN / self.width]
                figure.add_artist(Line2D(edges, [line, line], color=PALE, linewidth=0.8))
            below = self.lines(figure, self._prompts[index], self.PROMPT, self.MARGIN, top, "black") + self.PAD
            for place, (refiner, _, _) in enumerate(row.videos):
                left = self.MARGIN + place * (self._column + self.COLUMN_GAP)
                label = self.wrap(refiner, self.LABEL, self._column, 1)
                under = self.lines(figure, label, self.LABEL, left, below, colours[refiner]) + self.PAD // 2
                strip = self._strips[index][place]
                figure.figimage(strip, left, self.height - under - strip.shape[0])
                under += strip.shape[0] + self.PAD
                self.lines(figure, self._texts[index][place], self.TEXT, left, under, "#222222")
            top += self._heights[index] + self.ROW_GAP

    def _row_height(self, index: int) -> int:
        cells = [
            strip.shape[0] + len(text) * self.line_height(self.TEXT)
            for strip, text in zip(self._strips[index], self._texts[index], strict=True)
        ]
        fixed = len(self._prompts[index]) * self.line_height(self.PROMPT) + self.PAD
        return fixed + self.line_height(self.LABEL) + self.PAD // 2 + self.PAD + max(cells, default=0)


class _Strips(Page):
    """The layout of strips: a block a prompt, below its text a row a refiner, frames on the left and text on the right.

    Lengths are in pixels.
    """

    INCHES, FRAMES, TALLEST = 7.0, 3.1, 0.85  # the figure's width, and what frames of one video take at most
    MARGIN, GAP, COLUMN_GAP, ROW_GAP, BLOCK_GAP, PAD = 4, 6, 24, 14, 34, 8
    PROMPT_LINES, TEXT_LINES = 2, 8
    PROMPT, LABEL, TEXT = (8.0, "bold"), (7.0, "bold"), (7.0, "normal")  # (points, weight)
    ENLARGED = Size(256, 512)  # what is embedded of a frame: pixels of small clips stay pixels

    def __init__(self, rows: Sequence[SheetRow], clips: Sequence[Sequence[NDArray[np.uint8]]]) -> None:
        """Find the size of frames, wrap every text and find the height of the figure.

        Args:
            rows: What is shown.
            clips: The frames of each video, uint8 RGB [count, H, W, 3].
        """
        super().__init__(200, round(self.INCHES * 200), 1.3)
        self._rows, self._clips = rows, clips
        self._sizes = [[self._frame(frames) for frames in row] for row in clips]
        widths = [
            len(frames) * (width + self.GAP) - self.GAP
            for row, sizes in zip(clips, self._sizes, strict=True)
            for frames, (width, _) in zip(row, sizes, strict=True)
        ]
        self._left = self.MARGIN + max(widths, default=0) + self.COLUMN_GAP
        inner = self.width - 2 * self.MARGIN
        self._prompts = [self.wrap(row.prompt, self.PROMPT, inner, self.PROMPT_LINES) for row in rows]
        column = self.width - self.MARGIN - self._left
        self._texts = [
            [self.wrap(text, self.TEXT, column, self.TEXT_LINES) for _, text, _ in row.videos] for row in rows
        ]
        self._labels = [[self.wrap(refiner, self.LABEL, column, 1) for refiner, _, _ in row.videos] for row in rows]
        blocks = [self._block_height(place) for place in range(len(rows))]
        self.height = 2 * self.MARGIN + sum(blocks) + self.BLOCK_GAP * (len(rows) - 1)

    def draw(self, figure: Figure) -> None:
        """Put texts and frames onto a figure of its size."""
        colours, top = _colours(self._rows), self.MARGIN
        for place, row in enumerate(self._rows):
            if place:
                line = 1 - (top - self.BLOCK_GAP / 2) / self.height
                figure.add_artist(
                    Line2D(
                        [self.MARGIN / self.width, 1 - self.MARGIN / self.width],
                        [line, line],
                        color=PALE,
                        linewidth=0.6,
                    )
                )
            below = self.lines(figure, self._prompts[place], self.PROMPT, self.MARGIN, top, "black") + self.PAD
            for column, (refiner, _, _) in enumerate(row.videos):
                self._frames(figure, self._clips[place][column], self._sizes[place][column], below)
                under = self.lines(figure, self._labels[place][column], self.LABEL, self._left, below, colours[refiner])
                self.lines(figure, self._texts[place][column], self.TEXT, self._left, under, "#222222")
                below += self._row_height(place, column) + self.ROW_GAP
            top += self._block_height(place) + self.BLOCK_GAP

    def _frame(self, frames: NDArray[np.uint8]) -> tuple[int, int]:
        """Width and height of a shown frame."""
        count, height, width = frames.shape[:3]
        widest = (self.FRAMES * self.dpi - (count - 1) * self.GAP) / count
        scale = min(widest / width, self.TALLEST * self.dpi / height)
        return max(1, round(scale * width)), max(1, round(scale * height))

    def _frames(self, figure: Figure, frames: NDArray[np.uint8], size: tuple[int, int], top: int) -> None:
        width, height = size
        for place, frame in enumerate(fitted(frames, self.ENLARGED)):
            left = (self.MARGIN + place * (width + self.GAP)) / self.width
            box = (left, 1 - (top + height) / self.height, width / self.width, height / self.height)
            axes = figure.add_axes(box)
            axes.imshow(frame, aspect="auto")
            axes.axis("off")

    def _row_height(self, place: int, column: int) -> int:
        texts = len(self._texts[place][column]) * self.line_height(self.TEXT) + self.line_height(self.LABEL)
        return max(self._sizes[place][column][1], texts)

    def _block_height(self, place: int) -> int:
        rows = [self._row_height(place, column) for column in range(len(self._clips[place]))]
        heading = len(self._prompts[place]) * self.line_height(self.PROMPT) + self.PAD
        return heading + sum(rows) + self.ROW_GAP * max(0, len(rows) - 1)
