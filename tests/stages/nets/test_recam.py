import pytest
import torch
from torch.nn import functional

from data.manifest import Manifest
from knowledge.graph import ClassGraph
from stages.nets.backbone import Backbone
from stages.nets.classifier import Classifier
from stages.nets.recam import (
    ClassFeatures,
    class_feature_loader,
    class_features,
    masked_means,
    softmax_loss,
)
from tests.stages.conftest import TinyRun


def test_masked_means_by_hand() -> None:
    features, weights = torch.randn(2, 5, 3, 4), torch.randn(3, 5)
    found = masked_means(features, weights)
    for photo in range(2):
        for c in range(3):
            cam = torch.relu(torch.einsum("d,dhw->hw", weights[c], features[photo]))
            cam = cam / (cam.max() + 1e-5)
            expected = (cam * features[photo]).mean(dim=(1, 2))
            torch.testing.assert_close(found[photo, c], expected)


def test_each_photo_counts_alike_and_one_without_tags_not_at_all() -> None:
    logits, classes = torch.randn(3, 4), torch.tensor([0, 2, 1])
    loss = softmax_loss(logits, classes, torch.tensor([5, 5, 9]))
    each = functional.cross_entropy(logits, classes, reduction="none")
    torch.testing.assert_close(loss, ((each[0] + each[1]) / 2 + each[2]) / 2)
    nothing = torch.zeros(0, 4, requires_grad=True)
    loss = softmax_loss(nothing * 1.0, classes[:0], classes[:0])
    loss.backward()
    assert loss == 0  # not 0 / 0


def test_features_of_every_tag_of_the_photo_and_of_its_mirror_image(tiny_run: TinyRun) -> None:
    torch.manual_seed(0)
    manifest = Manifest.of(tiny_run.inputs, tiny_run.context.places)
    graph = ClassGraph.load(tiny_run.inputs["graph"])
    classifier = Classifier(Backbone("test_efficientnet"), graph.names, graph, hidden=4)
    photos = manifest.split("train")
    found = class_features(classifier, manifest, photos, context=tiny_run.context)
    tags = [manifest.tag_indices(photo) for photo in photos]
    assert found.classes.tolist() == [c for one in tags for c in one]
    assert found.photos.tolist() == [at for at, one in enumerate(tags) for _ in one]
    assert found.features.shape[1] == 2
    assert not torch.allclose(found.features[:, 0], found.features[:, 1])


def test_batches_are_whole_photos_and_a_function_of_seed_and_epoch() -> None:
    features = torch.arange(4.0)[:, None, None] + torch.tensor([0.0, 0.5])[None, :, None]
    found = ClassFeatures(features, torch.tensor([1, 2, 0, 1]), torch.tensor([0, 0, 1, 3]))
    load = class_feature_loader(found, count=4, batch_size=2, seed=3)
    whole = list(load(1, 0))
    assert len(whole) == 2
    assert sorted(torch.cat([of for _, _, of in whole]).tolist()) == [0, 0, 1, 3]
    for ours, theirs in zip(load(1, 1), whole[1:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    views = {float(f) % 1 for epoch in range(8) for fs, _, _ in load(epoch, 0) for f in fs}
    assert views == {0.0, 0.5}


@pytest.mark.parametrize("steps", [60])
def test_second_weights_learn_to_tell_the_classes_of_one_photo_apart(steps: int) -> None:
    torch.manual_seed(0)
    centres = torch.randn(3, 6)
    classes = torch.arange(3).repeat(8)
    features = centres[classes] + 0.1 * torch.randn(24, 6)
    second = torch.nn.Linear(6, 3, bias=False)
    optimiser = torch.optim.AdamW(second.parameters(), lr=0.05)
    photos = torch.arange(24) // 2
    for _ in range(steps):
        optimiser.zero_grad()
        softmax_loss(second(features), classes, photos).backward()
        optimiser.step()
    assert (second(features).argmax(dim=1) == classes).all()
