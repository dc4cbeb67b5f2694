"""What does the backbone as it came make of every photo? Its pooled features, computed once.

    python run_pipeline.py --until features

Reads the artifact of `index` (photos, never a tag or a mask); writes <id>.safetensors a photo:

- plain: the mean features of the whole photo at its own size;
- views (train photos): the same at every scale, then of the mirror images at every scale;
- maps (with --classify.nodes.graph): the whole map, not pooled, at the photo's own size and, of
  train photos, that of the mirror image; float16.

A classifier whose head is trained on frozen features reads them: another seed, graph or loss costs
seconds. Photos whose file is there are skipped; several ranks share the photos.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, PositiveFloat

from pipeline.context import Context
from pipeline.key import Place

if TYPE_CHECKING:
    from stages.nets.backbone import Backbone

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    """What features depend on; all of it is set in the section `classify`."""

    backbone: str = Field(description="image network, any timm name")
    weights: Literal["imagenet", "scratch", "file"] = Field(description="weights of the network")
    weights_file: Annotated[Path | None, Place()] = Field(
        None, description="safetensors file with timm's keys, for --classify.weights file"
    )
    weights_supervision: str | None = Field(
        None, description="what the weight file was trained from, where it does not say so"
    )
    weights_seed: int | None = Field(None, description="of random weights, for scratch")
    output_stride: Literal[8, 16, 32] = Field(16, description="stride of the backbone's last map")
    frozen_norm: bool = Field(True, description="keep the backbone's batch-norm statistics")
    conv_head: bool = Field(False, description="take the map after the last 1x1 convolution too")
    levels: int = Field(1, ge=1, description="last maps of one stride that are pooled")
    scales: tuple[PositiveFloat, ...] = Field(
        (1.0,), min_length=1, description="factors of a train photo's size; mirrored too"
    )

    pooling: Literal["gap", "gmp"] = Field("gap", description="mean or maximum of every channel")
    maps: bool = Field(False, description="keep whole maps at the photos' own size too")

    @classmethod
    def of(cls, classify: Any) -> "Config":
        """What of the settings of `stages.classify` features depend on."""
        shared = cls.model_fields.keys() & type(classify).model_fields.keys()
        given = {name: getattr(classify, name) for name in shared}
        seed = classify.seed if classify.weights == "scratch" else None
        return cls(**given, scales=classify.scales_head, weights_seed=seed, maps=classify.nodes.on)


def sources(config: Config) -> dict[str, Path]:
    """The weight file: its content and its name, which the model's card keeps, are in the key."""
    path = config.weights_file if config.weights == "file" else None
    return {} if path is None else {f"weights_file {path.name}": path}


def initial_backbone(config: Config) -> "Backbone":
    """The backbone with its initial weights; random ones are drawn from torch's generator.

    Raises:
        FileNotFoundError: the weight file is missing.
        ValueError: no weight file is named, or weights that cannot be used.
        OSError: weights that cannot be downloaded.
    """
    from stages.nets.backbone import build_backbone

    weights: str | Path = config.weights
    if config.weights == "file":
        if config.weights_file is None:
            raise ValueError("--classify.weights file needs --classify.weights-file PATH")
        weights = config.weights_file
    return build_backbone(
        config.backbone,
        output_stride=config.output_stride,
        weights=weights,
        frozen_norm=config.frozen_norm,
        conv_head=config.conv_head,
        supervision=config.weights_supervision,
    )


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Make the features of this rank's photos that have none yet.

    Raises:
        FileNotFoundError: a photo or the weight file is missing.
        ValueError: a photo or the weights cannot be used.
        OSError: weights that cannot be downloaded.
    """
    import torch

    from data.manifest import Manifest
    from stages.nets.classifier import Classifier
    from stages.nets.device import pick_device
    from stages.nets.pooled import Views, file_of, pooled_views, write_pooled
    from stages.nets.resize import said_of_large
    from stages.nets.weights import check_supervision

    manifest = Manifest.of(inputs, context.places)
    work = [
        (context.mine(manifest.split("train")), Views(config.scales, True, config.maps)),
        (context.mine(manifest.split("val")), Views(maps=config.maps)),
    ]
    total = sum(len(photos) for photos, _ in work)
    left = [
        ([photo for photo in photos if not file_of(out, photo).exists()], views)
        for photos, views in work
    ]
    done = total - sum(len(photos) for photos, _ in left)
    if done == total:
        return
    if said := said_of_large([photo for photos, _ in left for photo in photos]):
        context.note(said)
    if config.weights_seed is not None:
        torch.manual_seed(config.weights_seed)
    backbone = initial_backbone(config)
    names = manifest.classes.names
    check_supervision(backbone.card, names)
    classifier = Classifier(backbone, names, None, levels=config.levels, pooling=config.pooling)
    classifier = classifier.to(pick_device(context.device))
    for photos, views in left:
        made = pooled_views(classifier, manifest, photos, views=views, context=context)
        for photo, kept in made:
            write_pooled(out, photo, kept)
            done += 1
            context.listener.progress(done, total, "photos")
