"""VBench 0.1.5 (Huang et al., CVPR 2024): its prompts, videos under its names, its dimensions, and its totals.

`evaluate` runs where the vbench package is installed and needs little else; the other modules never import vbench.
"""
