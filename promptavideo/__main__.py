"""`python -m promptavideo` is the command `promptavideo`."""

import sys

from promptavideo.use.main import main

if __name__ == "__main__":
    sys.exit(main())
