"""What the scores were made comparable by that a background score cuts: the two belong together."""

import json
from pathlib import Path

MAXIMA = "each class map divided by its own maximum + 1e-5"
"""Of activation maps."""
PROBABILITIES = "probabilities of the photo's classes and the background"
"""Of scores after a second look: there the number is a factor on the background's."""


def background_score(labels: Path) -> float:
    """The score beside activation maps that the labels in the artifact `labels` were cut at.

    Raises ValueError where the number there belongs to scores of another normalisation.
    """
    path = labels / "thresholds.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    if said.get("normalisation", MAXIMA) != MAXIMA:
        raise ValueError(
            f"{path}: {said['threshold']} belongs to scores that are {said['normalisation']}; it "
            f"is no background score of activation maps ({MAXIMA}): take the first labels"
        )
    return float(said["threshold"])
