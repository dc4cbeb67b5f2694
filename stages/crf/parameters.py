"""What the dense CRF can be set to: the named sets of the field, or numbers of one's own.

A set is part of a method: swapping one for another changes 3 to 12 % of the pixels.
This module is light (pydantic only), so that settings can be read without NumPy.
"""

from typing import Literal, NamedTuple

from pydantic import BaseModel, Field

Normalization = Literal["symmetric", "before", "after", "none"]
Backend = Literal["numba", "torch", "reference", "pydensecrf"]
Mode = Literal["exact", "frozen"]
SetName = Literal["deeplab", "irn_label", "psa_seam", "toco_pseudo", "toco_seg", "mctformer_seg"]


class Numbers(NamedTuple):
    """Mean-field steps, and the two Gaussian kernels of the Potts model.

    sxy is a distance in pixels, srgb one in grey levels (0 to 255); a weight multiplies the
    message of its kernel and is what pydensecrf calls `compat`.
    """

    iterations: int
    gaussian_sxy: float
    gaussian_weight: float
    bilateral_sxy: float
    bilateral_srgb: float
    bilateral_weight: float


SETS: dict[SetName, Numbers] = {
    # kazuto1011/deeplab-pytorch:configs/voc12.yaml
    "deeplab": Numbers(10, 1.0, 3.0, 67.0, 3.0, 4.0),
    # jiwoon-ahn/irn:misc/imutils.py
    "irn_label": Numbers(10, 3.0, 3.0, 50.0, 5.0, 10.0),
    # YudeWang/SEAM:tool/imutils.py
    "psa_seam": Numbers(10, 3.0, 3.0, 80.0, 13.0, 10.0),
    # rulixiang/ToCo:tools/infer_cam_crf_label.py
    "toco_pseudo": Numbers(10, 3.0, 3.0, 36.0, 3.0, 4.0),
    # rulixiang/ToCo:tools/infer_seg_voc.py
    "toco_seg": Numbers(10, 1.0, 1.0, 121.0, 5.0, 4.0),
    # xulianuwa/MCTformer:seg/tool/imutils.py
    "mctformer_seg": Numbers(10, 4.0, 3.0, 83.0, 5.0, 3.0),
}


class CrfParameters(BaseModel, frozen=True, extra="forbid"):
    """A named set of CRF numbers, of which each may be replaced."""

    set: SetName = Field("irn_label", description="named set that gives the numbers not set here")
    iterations: int | None = Field(None, ge=0, description="mean-field steps; None: the set's")
    gaussian_sxy: float | None = Field(
        None, gt=0, description="width of the smoothness kernel in pixels; None: the set's"
    )
    gaussian_weight: float | None = Field(
        None, ge=0, description="weight of the smoothness kernel; None: the set's"
    )
    bilateral_sxy: float | None = Field(
        None, gt=0, description="width of the appearance kernel in pixels; None: the set's"
    )
    bilateral_srgb: float | None = Field(
        None, gt=0, description="width of the appearance kernel in grey levels; None: the set's"
    )
    bilateral_weight: float | None = Field(
        None, ge=0, description="weight of the appearance kernel; None: the set's"
    )
    normalization: Normalization = Field(
        "symmetric", description="where a kernel's row sums divide: both sides, one side, nowhere"
    )
    backend: Backend = Field(
        "numba",
        description="numba: compiled, all cores; torch: batches of photos, for a GPU; reference: "
        "NumPy, to read; pydensecrf: the library, if installed. All give the same labels",
    )
    mode: Mode = Field(
        "exact",
        description="exact, or frozen: pixels that are sure of their label are skipped for some "
        "iterations (numba only; more than 99.99 % of labels as in exact)",
    )
    margin: float = Field(
        10.0, ge=5, description="lead of the first label's logit that makes a pixel sure (frozen)"
    )

    def numbers(self, scale: float = 1.0) -> Numbers:
        """The numbers in force, both widths in pixels multiplied by `scale`.

        scale: size of the photo at hand over the size that the widths are meant for.
        """
        named = SETS[self.set]._asdict()
        given = {name: value for name in named if (value := getattr(self, name)) is not None}
        numbers = Numbers(**(named | given))
        return numbers._replace(
            gaussian_sxy=numbers.gaussian_sxy * scale, bilateral_sxy=numbers.bilateral_sxy * scale
        )
