"""Write the miniature's prompt files; running it again gives the same bytes."""

import argparse
from pathlib import Path

from promptavideo.files import atomic_path
from promptavideo.miniature.prompts import prompt_files

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--folder", type=Path, default=Path("resources/prompts"))

if __name__ == "__main__":
    options = parser.parse_args()
    for name, text in prompt_files().items():
        with atomic_path(options.folder / name) as partial:
            partial.write_text(text, encoding="utf-8", newline="\n")
