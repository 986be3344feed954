"""Generators: text-to-video models, one small module a kind (see `registry`)."""
