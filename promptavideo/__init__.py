"""Prompt-A-Video: evolution, boosters and their evaluation, for any text-to-video generator."""
