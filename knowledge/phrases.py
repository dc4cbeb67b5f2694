"""What class names mean in plain words, for sources that list words instead of reading sentences.

Names of data sets are no dictionary: ConceptNet and GloVe know "potted plant" and not "pottedplant"
(VOC), and their "mouse" is the animal first (COCO means the computer's).
"""

import re

PHRASES: dict[str, tuple[str, ...]] = {
    # Written as one word by VOC; ConceptNet's nodes of that spelling have next to no edges.
    "diningtable": ("dining table",),
    "pottedplant": ("potted plant", "houseplant"),
    "tvmonitor": ("television", "monitor"),
    # British and American spellings are two nodes with different edges.
    "aeroplane": ("aeroplane", "airplane"),
    "airplane": ("airplane", "aeroplane"),
    "motorbike": ("motorbike", "motorcycle"),
    "motorcycle": ("motorcycle", "motorbike"),
    "donut": ("donut", "doughnut"),
    # Two everyday words for one thing, each with edges of its own.
    "sofa": ("sofa", "couch"),
    "couch": ("couch", "sofa"),
    "tv": ("television", "tv"),
    "cell phone": ("cell phone", "mobile phone"),
    "refrigerator": ("refrigerator", "fridge"),
    # Spelt in a way that hardly any text uses.
    "hair drier": ("hair dryer", "hair drier"),
    "skis": ("ski", "skis"),
    # The bare word means something else first: a rodent, far away, a result without winner.
    "mouse": ("computer mouse",),
    "remote": ("remote control",),
    "tie": ("necktie",),
    # A category of COCO that no dictionary has.
    "sports ball": ("ball",),
}
"""Name in lower case -> phrases that mean it, the most usual first. Others mean themselves."""


def phrases(name: str) -> tuple[str, ...]:
    """The phrases that mean the class `name`: lower case, words apart, the most usual first.

    "Potted_Plant" and "potted plant" are one; a hyphen stays, for words are listed with it.
    """
    plain = " ".join(re.split(r"[\s_]+", name.strip().lower()))
    return PHRASES.get(plain, (plain,))
