"""Networks: backbones, the classifier, the segmenter and its context heads."""
