"""The MoE layer: a router, a gate, a bank of experts, and the dispatch between them.

`MoELayer(...)` is the short form: SwiGLU experts behind a named gate. `MoELayer.of(LayerSpec(...))` puts any
layer of a model in use together from its parts; `moe_lessons.interop.recipes` has the lists of parts.
"""

from moe_lessons.layer.cutting import cut_layer
from moe_lessons.layer.moe import MoELayer, MoEOutput
from moe_lessons.layer.paths import TYPICAL_TOKENS
from moe_lessons.layer.router import Router
from moe_lessons.layer.spec import BIASED_GATES, LayerSpec

__all__ = ["BIASED_GATES", "TYPICAL_TOKENS", "LayerSpec", "MoELayer", "MoEOutput", "Router", "cut_layer"]
