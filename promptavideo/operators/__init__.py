"""Operators: what proposes prompts, one small module a kind (see `registry`)."""
