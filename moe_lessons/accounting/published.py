"""Published Mixture-of-Experts models: their dimensions and gates, each with its source.

Parameter counts follow in closed form from the dimensions and equal those of the model, built without
weights. The config.json files were read as mirrored in github.com/ai-dynamo/aiconfigurator at 095f58a5.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """One published model.

    Parameters
    ----------
    name : str
    n_experts, top_k : int
        Routed experts E of one MoE layer, and how many of them a token visits.
    d_model, d_expert : int
        Token width D and hidden width F of one routed expert.
    n_layers, n_moe_layers : int
        Blocks of the transformer, and how many of them hold experts. An encoder-decoder counts both halves.
    gate : str
        A key of `moe_lessons.routing.GATES`.
    total_parameters, active_parameters : int
        All parameters, embeddings included; and the same without the routed experts that a token leaves out.
        Publishers draw the second line in several ways, so their figure may differ.
    source : str
        Where the dimensions and the gate can be read.
    scale : float
        Factor on the routing weights.
    n_shared_experts : int
        Experts that see every token, counted in widths of `d_expert`.
    d_dense : int or None
        Hidden width of the feed-forward network in layers without experts; None where every layer has them.
    expert_matrices : int
        3 for a gated expert (gate, up, down), 2 for a plain one.

    Examples
    --------
    >>> PRESETS["Mixtral-8x7B"].parameters_per_expert  # 3 * 4096 * 14336
    176160768
    """

    name: str
    n_experts: int
    top_k: int
    d_model: int
    d_expert: int
    n_layers: int
    n_moe_layers: int
    gate: str
    total_parameters: int
    active_parameters: int
    source: str
    scale: float = 1.0
    n_shared_experts: int = 0
    d_dense: int | None = None
    expert_matrices: int = 3

    @property
    def parameters_per_expert(self) -> int:
        """Weights of one routed expert, biases left out."""
        return self.expert_matrices * self.d_model * self.d_expert


def get_preset(name: str) -> Preset:
    """Look up a published model by name.

    Parameters
    ----------
    name : str
        A key of `PRESETS`.

    Returns
    -------
    Preset

    Raises
    ------
    ValueError
        If no such model is listed; the message lists those that are.

    Examples
    --------
    >>> get_preset("OLMoE-1B-7B").top_k
    8
    """
    if name not in PRESETS:
        raise ValueError(f"name is {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="Switch-Base-8",
            n_experts=8,
            top_k=1,
            d_model=768,
            d_expert=3072,
            n_layers=24,
            n_moe_layers=12,
            gate="softmax_topk",
            total_parameters=619_339_008,
            active_parameters=222_977_280,
            d_dense=3072,
            expert_matrices=2,
            source="arXiv 2101.03961 eq. 1-2 and tables 7, 9; "
            "d_expert as in the published checkpoints (the table's 2048 gated has as many weights)",
        ),
        Preset(
            name="Mixtral-8x7B",
            n_experts=8,
            top_k=2,
            d_model=4096,
            d_expert=14336,
            n_layers=32,
            n_moe_layers=32,
            gate="topk_softmax",
            total_parameters=46_702_792_704,
            active_parameters=12_879_925_248,
            source="arXiv 2401.04088 section 2.1 and table 1; mistralai/Mixtral-8x7B-v0.1 config.json",
        ),
        Preset(
            name="Grok-1",
            n_experts=8,
            top_k=2,
            d_model=6144,
            d_expert=32768,
            n_layers=64,
            n_moe_layers=64,
            gate="softmax_topk",
            total_parameters=315_684_820_992,
            active_parameters=83_756_587_008,
            source="github.com/xai-org/grok-1 at 7050ed2, run.py and model.py",
        ),
        Preset(
            name="DBRX",
            n_experts=16,
            top_k=4,
            d_model=6144,
            d_expert=10752,
            n_layers=40,
            n_moe_layers=40,
            gate="softmax_topk_renorm",
            total_parameters=131_596_523_520,
            active_parameters=36_469_708_800,
            source="github.com/databricks/dbrx at a320039, model/config.json",
        ),
        Preset(
            name="OLMoE-1B-7B",
            n_experts=64,
            top_k=8,
            d_model=2048,
            d_expert=1024,
            n_layers=16,
            n_moe_layers=16,
            gate="softmax_topk",
            total_parameters=6_919_161_856,
            active_parameters=1_282_017_280,
            source="arXiv 2409.02060 table 1; github.com/allenai/OLMoE configs/OLMoE-1B-7B-0924.yml",
        ),
        Preset(
            name="Qwen3-30B-A3B",
            n_experts=128,
            top_k=8,
            d_model=2048,
            d_expert=768,
            n_layers=48,
            n_moe_layers=48,
            gate="softmax_topk_renorm",
            total_parameters=30_532_122_624,
            active_parameters=3_353_032_704,
            source="arXiv 2505.09388 table 2; Qwen/Qwen3-30B-A3B config.json (norm_topk_prob true)",
        ),
        Preset(
            name="gpt-oss-20b",
            n_experts=32,
            top_k=4,
            d_model=2880,
            d_expert=2880,
            n_layers=24,
            n_moe_layers=24,
            gate="topk_softmax",
            total_parameters=20_914_757_184,
            active_parameters=4_187_440_704,
            source="arXiv 2508.10925 table 1; openai/gpt-oss-20b config.json; "
            "github.com/openai/gpt-oss model.py",
        ),
        Preset(
            name="Llama-4-Scout",
            n_experts=16,
            top_k=1,
            d_model=5120,
            d_expert=8192,
            n_layers=48,
            n_moe_layers=48,
            gate="topk_sigmoid",
            total_parameters=107_769_861_120,
            active_parameters=17_172_894_720,
            n_shared_experts=1,
            source="meta-llama/Llama-4-Scout-17B-16E-Instruct config.json (text model); "
            "github.com/meta-llama/llama-models models/llama4",
        ),
        Preset(
            name="DeepSeek-V2",
            n_experts=160,
            top_k=6,
            d_model=5120,
            d_expert=1536,
            n_layers=60,
            n_moe_layers=59,
            gate="softmax_topk",
            total_parameters=235_741_434_880,
            active_parameters=21_375_800_320,
            scale=16.0,
            n_shared_experts=2,
            d_dense=12288,
            source="arXiv 2405.04434; github.com/deepseek-ai/DeepSeek-V3 at 9b4e978, "
            "inference/configs/config_236B.json",
        ),
        Preset(
            name="DeepSeek-V3",
            n_experts=256,
            top_k=8,
            d_model=7168,
            d_expert=2048,
            n_layers=61,
            n_moe_layers=58,
            gate="sigmoid",
            total_parameters=671_026_404_352,
            active_parameters=37_552_282_624,
            scale=2.5,
            n_shared_experts=1,
            d_dense=18432,
            source="arXiv 2412.19437 eq. 12-16 and section 4.2; "
            "github.com/deepseek-ai/DeepSeek-V3 at 9b4e978, inference/configs/config_671B.json "
            "(without the multi-token prediction module)",
        ),
        Preset(
            name="GLM-4.5",
            n_experts=160,
            top_k=8,
            d_model=5120,
            d_expert=1536,
            n_layers=92,
            n_moe_layers=89,
            gate="sigmoid",
            total_parameters=352_797_814_784,
            active_parameters=33_632_251_904,
            scale=2.5,
            n_shared_experts=1,
            d_dense=12288,
            source="arXiv 2508.06471 table 1; github.com/THUDM/slime scripts/models/glm4.5-355B-A32B.sh",
        ),
        Preset(
            name="Kimi-K2",
            n_experts=384,
            top_k=8,
            d_model=7168,
            d_expert=2048,
            n_layers=61,
            n_moe_layers=60,
            gate="sigmoid",
            total_parameters=1_026_408_209_408,
            active_parameters=32_861_477_888,
            scale=2.827,
            n_shared_experts=1,
            d_dense=18432,
            source="arXiv 2507.20534 table 2; moonshotai/Kimi-K2-Instruct config.json",
        ),
    )
}
