"""Boosters: small language models that learn to refine prompts. Their settings, training, sampling and files."""
