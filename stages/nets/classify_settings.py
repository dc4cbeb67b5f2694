"""Settings of the parts of the tag classifier: light, a stage's Config holds them without torch."""

from typing import Literal

from pydantic import BaseModel, Field


class NodesConfig(BaseModel, frozen=True, extra="forbid"):
    """Features routed by class, with messages between the nodes: --classify.nodes.graph GRAPH."""

    graph: Literal["none", "static", "dynamic", "seeded", "uniform"] = Field(
        "none",
        description="none: no such branch; static: messages along the class graph; dynamic: along "
        "attention between the nodes of a photo; seeded: a mix of both; uniform: the control, "
        "every node hears all alike",
    )
    width: int = Field(256, ge=1, description="channels of a node")
    rho: float = Field(0.5, ge=0, le=1, description="share of the dynamic graph in seeded")
    learn_rho: bool = Field(False, description="learn rho from there on")
    dropout: float = Field(0.2, ge=0, lt=1, description="share of a node's features dropped")
    weight: float = Field(
        1.0, ge=0, description="weight of the nodes' loss where the whole network is trained"
    )
    epochs: int = Field(
        6, ge=0, description="passes of the nodes alone, on kept maps, after `epochs_head`"
    )
    lr: float = Field(1e-3, gt=0, description="learning rate of that phase (AdamW)")
    decay: float = Field(0.02, ge=0, description="weight decay of that phase")

    @property
    def on(self) -> bool:
        """Whether the classifier has nodes."""
        return self.graph != "none"


class RecamConfig(BaseModel, frozen=True, extra="forbid"):
    """Re-activated maps (ReCAM): --classify.recam.epochs N --cams.classifier recam."""

    epochs: int = Field(0, ge=0, description="passes of its training, the last; 0: none")
    lr: float = Field(5e-4, gt=0, description="learning rate of the second classifier (AdamW)")
    decay: float = Field(1e-4, ge=0, description="its weight decay")
