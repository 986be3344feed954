"""Put one model of the registry on disk, verified."""

from promptavideo import cli
from promptavideo.steps import inputs

if __name__ == "__main__":
    cli.step(inputs.fetch_model, __doc__, "model")
