"""What a refiner added to a prompt: the words of its text that the original has in no inflection."""

from itertools import pairwise

from promptavideo.judges.words import normal, words_of


def marked(text: str, original: str) -> tuple[tuple[str, bool], ...]:
    """A text in pieces, each with whether its words were added to the original.

    A word was added if the original has it in no inflection; what stands between added words only, such as commas and
    articles, goes with them.

    >>> marked("a red ball rolls, vivid colors, on the grass", "a ball rolling on grass")
    (('a ', False), ('red', True), (' ball rolls, ', False), ('vivid colors', True), (', on the grass', False))
    """
    known = {form for word in words_of(normal(original)) for form in word.forms}
    plainly = normal(text)
    runs: list[tuple[int, int]] = []
    going_on = False
    for word in words_of(plainly):
        if not word.forms:
            continue
        added = known.isdisjoint(word.forms)
        if added and going_on:
            runs[-1] = runs[-1][0], word.end
        elif added:
            runs.append((word.start, word.end))
        going_on = added
    edges = [0, *(place for run in runs for place in run), len(plainly)]
    pieces = ((plainly[start:end], place % 2 == 1) for place, (start, end) in enumerate(pairwise(edges)))
    return tuple((piece, added) for piece, added in pieces if piece)
