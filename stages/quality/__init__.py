"""Quality of pseudo-labels: figures that need masks, and figures that need none."""
