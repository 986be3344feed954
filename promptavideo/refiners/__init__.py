"""Refiners: what rewrites a prompt before it is filmed, one small module a kind (see `registry`)."""
