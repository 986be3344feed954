"""What all figures share: style, colours, text that is drawn as it is, and the same bytes for the same input."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure

from promptavideo.files import atomic_path
from promptavideo.text import clean

DPI = 150
"""Of the plots; figures of videos are laid out in pixels."""
PRINTED_DPI = 300
"""Of images in a PDF file."""
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
)  # Okabe and Ito, safe for colour-blind eyes
MARKERS = "osD^vP"
GRAY, PALE = "#555555", "#BBBBBB"
STYLE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so it is the same everywhere
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.parse_math": False,
    "text.usetex": False,
    "pdf.fonttype": 42,  # text stays text, and journals take it
}

Font = tuple[float, str]
"""Size in points, and weight."""

_MOST_CHARACTERS = 4000  # of a text that is wrapped; more is never read


@contextmanager
def saved(
    path: Path,
    size: tuple[float, float],
    dpi: int = DPI,
    layout: str | None = "constrained",
    printed: Path | None = None,
) -> Iterator[Figure]:
    """A figure of its own (no pyplot, no global backend) in the project's style, saved on success.

    Args:
        path: Target, `.png`.
        size: Width and height in inches.
        dpi: Pixels of an inch.
        layout: What places axes; None leaves them where they are put.
        printed: A second target, `.pdf`.
    """
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=size, dpi=dpi, layout=layout)  # type: ignore[arg-type]
        canvas = FigureCanvasAgg(figure)
        if layout:
            figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)  # type: ignore[union-attr,call-arg]
        yield figure
        with atomic_path(path) as partial:
            canvas.print_png(str(partial), metadata={"Software": None})
        if printed:
            figure.set_dpi(PRINTED_DPI)
            undated: dict[str, Any] = {"CreationDate": None, "Creator": None, "Producer": None}
            with atomic_path(printed) as partial:
                FigureCanvasPdf(figure).print_pdf(str(partial), metadata=undated)


def drawable(text: str, longest: int | None = None) -> str:
    """One line that the font can draw; longer than `longest` characters is cut with an ellipsis."""
    known = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    line = "".join(character if ord(character) in known else "\N{WHITE SQUARE}" for character in clean(text))
    return line if longest is None or len(line) <= longest else line[: longest - 1] + "…"


def shades(refiners: list[str], baseline: str) -> dict[str, str]:
    """A colour for each refiner, in order of appearance; that of the baseline is gray."""
    names = [name for name in dict.fromkeys(refiners) if name != baseline]
    return {baseline: GRAY, **{name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}}


class Page:
    """A figure of texts and pictures, laid out in pixels from its top left corner."""

    def __init__(self, dpi: int, width: int, leading: float) -> None:
        """A page of no height yet.

        Args:
            dpi: Pixels of an inch.
            width: In pixels.
            leading: The distance of lines, in sizes of their font.
        """
        self.dpi, self.width, self.height, self._leading = dpi, width, 0, leading
        self._renderer = FigureCanvasAgg(Figure(figsize=(1, 1), dpi=dpi)).get_renderer()

    @property
    def inches(self) -> tuple[float, float]:
        """Its width and height."""
        return self.width / self.dpi, self.height / self.dpi

    def line_height(self, font: Font) -> int:
        """The distance of lines, in pixels."""
        return round(font[0] * self.dpi / 72 * self._leading)

    def lines(self, figure: Figure, lines: list[str], font: Font, left: int, top: int, colour: str) -> int:
        """Draw lines downward from `top`; returns where they end."""
        step = self.line_height(font)
        for number, line in enumerate(lines):
            baseline = top + number * step + 0.78 * step
            figure.text(left / self.width, 1 - baseline / self.height, line, size=font[0], weight=font[1], color=colour)
        return top + len(lines) * step

    def wrap(self, text: str, font: Font, width: int, most: int) -> list[str]:
        """Break a text into at most `most` lines that fit into `width`; one that is too long ends in an ellipsis."""
        properties = font_manager.FontProperties(family="DejaVu Sans", size=font[0], weight=font[1])

        def fits(line: str) -> bool:
            return self._renderer.get_text_width_height_descent(line, properties, False)[0] <= width

        words = drawable(text[:_MOST_CHARACTERS]).split(" ")
        lines = [""]
        for word in words:
            if fits(f"{lines[-1]} {word}".strip()):
                lines[-1] = f"{lines[-1]} {word}".strip()
                continue
            if lines[-1]:
                lines.append("")
            for character in word:  # a word wider than the column is broken anywhere
                if not fits(lines[-1] + character):
                    lines.append("")
                if len(lines) > most:
                    break
                lines[-1] += character
            if len(lines) > most:
                break
        if len(lines) > most or len(text) > _MOST_CHARACTERS:
            lines = lines[:most]
            while lines[-1] and not fits(lines[-1] + "…"):
                lines[-1] = lines[-1][:-1]
            lines[-1] += "…"
        return lines
