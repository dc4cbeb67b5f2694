"""Drawn scenes: canvas, textures, things, clutter and backdrops that data/demo.py composes."""
