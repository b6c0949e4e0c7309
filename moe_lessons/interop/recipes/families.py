"""Every model type of transformers 5.23 with experts: its recipe, or why it has none."""

from collections.abc import Callable
from dataclasses import dataclass

from moe_lessons.interop.recipes import sigmoid, softmax, weights
from moe_lessons.interop.recipes.fields import Fields
from moe_lessons.layer import LayerSpec


@dataclass(frozen=True)
class Recipe:
    """How one model type's layer is put together.

    Parameters
    ----------
    spec : callable
        From the config's `Fields` to a `LayerSpec`.
    year : int
        The one in the copyright line of transformers' code: about when the type came.
    models : str
        Those that it was written for.
    special : str
        What sets it apart, in a few words.
    layout : callable, optional
        How its tensors lie, where that is not Mixtral's way: a function of `weights`.
    inside, ignored : str
        Patterns of names: the layer's part of what is read, and what in it is not the layer's.
    """

    spec: Callable[[Fields], LayerSpec]
    year: int
    models: str
    special: str
    layout: weights.Layout | None = None
    inside: str = ""
    ignored: str = ""


GRANITE = r"block_sparse_moe\."
NOT_GRANITE = r"(self_attn|mamba|input_layernorm|post_attention_layernorm)\..*"
GEMMA = r"(?!router\.|experts\.|pre_feedforward_layernorm_2\.|post_feedforward_layernorm_2\.).*"

V3 = "bias for the choice, groups, shared"

RECIPES: dict[str, Recipe] = {
    "afmoe": Recipe(sigmoid.afmoe, 2025, "Trinity-Mini", "bias, shared"),
    "aria": Recipe(softmax.aria, 2024, "Aria", "shared", layout=weights.transposed),
    "axk1": Recipe(sigmoid.axk1, 2026, "A.X-K1", f"{V3}, norm at the end"),
    "axk2": Recipe(sigmoid.axk2, 2026, "A.X-K2", f"{V3}; groups left out count as 0"),
    "bailing_hybrid": Recipe(sigmoid.deepseek_v3, 2026, "Ling-3.0-Flash", V3),
    "beam": Recipe(sigmoid.no_shared, 2026, "Beam-1.0", "bias, groups"),
    "cohere2_moe": Recipe(
        sigmoid.cohere2, 2026, "Command-A+", "softmax or sigmoid; shared experts may be averaged"
    ),
    "dbrx": Recipe(softmax.dbrx, 2024, "DBRX", "divided by a p-norm", layout=weights.dbrx),
    "deepseek_ocr2": Recipe(softmax.deepseek_v2, 2026, "DeepSeek-OCR-2", "as DeepSeek-V2"),
    "deepseek_v2": Recipe(softmax.deepseek_v2, 2025, "DeepSeek-V2", "groups by their best, scaled, shared"),
    "deepseek_v3": Recipe(sigmoid.deepseek_v3, 2025, "DeepSeek-V3, Kimi-K2", V3),
    "deepseek_v32": Recipe(sigmoid.deepseek_v3, 2025, "DeepSeek-V3.2", V3),
    "deepseek_v4": Recipe(
        sigmoid.deepseek_v4, 2026, "DeepSeek-V4", "clamped experts, bias, shared; the first layers hash"
    ),
    "diffusion_gemma": Recipe(softmax.gemma4, 2026, "DiffusionGemma", "as Gemma-4", ignored=GEMMA),
    "dots1": Recipe(sigmoid.deepseek_v3, 2025, "dots.llm1", V3),
    "dots3_note": Recipe(sigmoid.dots3, 2026, "dots3-note", f"{V3} of their own width"),
    "ernie4_5_moe": Recipe(softmax.ernie, 2025, "ERNIE-4.5", "bias on probabilities, least sum, shared"),
    "ernie4_5_vl_moe": Recipe(
        softmax.ernie,
        2025,
        "ERNIE-4.5-VL",
        "text experts; vision has others",
        inside="text_moe\\.",
        ignored="vision_moe\\..*",
    ),
    "exaone_moe": Recipe(sigmoid.deepseek_v3, 2026, "K-EXAONE", V3),
    "flex_olmo": Recipe(softmax.either, 2025, "FlexOlmo", "norm_topk_prob"),
    "flint": Recipe(sigmoid.flint, 2026, "Flint", "no bias, shared"),
    "gemma4": Recipe(
        softmax.gemma4, 2026, "Gemma-4", "router norm, scale per expert, norms around GeGLU", ignored=GEMMA
    ),
    "glm4_moe": Recipe(sigmoid.deepseek_v3, 2025, "GLM-4.5", V3),
    "glm4_moe_lite": Recipe(sigmoid.deepseek_v3, 2025, "GLM-4.7-Flash", V3),
    "glm4v_moe": Recipe(sigmoid.deepseek_v3, 2025, "GLM-4.5V", V3),
    "glm5_next": Recipe(sigmoid.clamped, 2026, "GLM-5.3-Flash", f"clamped experts, {V3}"),
    "glm_moe_dsa": Recipe(sigmoid.deepseek_v3, 2026, "GLM-5", V3),
    "gpt_oss": Recipe(
        softmax.gpt_oss, 2025, "gpt-oss", "biases, clamped experts with up + 1", layout=weights.interleaved
    ),
    "granitemoe": Recipe(softmax.mixtral, 2024, "Granite-3", "-"),
    "granitemoe_swa": Recipe(
        softmax.granite,
        2026,
        "Granite-Swash",
        "shared, next to the block",
        inside=GRANITE,
        ignored=NOT_GRANITE,
    ),
    "granitemoehybrid": Recipe(
        softmax.granite, 2025, "Granite-4", "shared, next to the block", inside=GRANITE, ignored=NOT_GRANITE
    ),
    "granitemoeshared": Recipe(
        softmax.granite,
        2024,
        "Granite-3, shared",
        "shared, next to the block",
        inside=GRANITE,
        ignored=NOT_GRANITE,
    ),
    "hunyuan_v1_moe": Recipe(softmax.hunyuan, 2025, "Hunyuan-A13B", "shared"),
    "hy_v3": Recipe(sigmoid.hy_v3, 2026, "Hy3", "bias, shared"),
    "hy_v4": Recipe(sigmoid.hy_v4, 2026, "Hy4", f"clamped routed experts, {V3}"),
    "inkling": Recipe(
        sigmoid.inkling,
        2026,
        "Inkling",
        "shared experts routed too, learned scale",
        layout=weights.shared_in_the_bank,
    ),
    "inkling2": Recipe(sigmoid.inkling2, 2026, "Inkling-2", "softcapped experts, bias"),
    "jamba": Recipe(softmax.kept, 2024, "Jamba", "-"),
    "jetmoe": Recipe(softmax.jetmoe, 2024, "JetMoE", "bias at the end; attention experts are left out"),
    "kimi_linear": Recipe(sigmoid.deepseek_v3, 2026, "Kimi-Linear", V3),
    "kolibri1": Recipe(sigmoid.kolibri, 2026, "Kolibri-1", "bias on the logits, shared"),
    "laguna": Recipe(sigmoid.laguna, 2026, "Laguna-XS.2", "softcapped logits, bias, shared"),
    "lfm2_moe": Recipe(sigmoid.lfm2, 2025, "LFM2-8B-A1B", "bias, eps 1e-6"),
    "llama4": Recipe(
        sigmoid.llama4, 2025, "Llama-4", "weight on the input, shared", layout=weights.transposed
    ),
    "longcat_flash": Recipe(
        softmax.longcat,
        2025,
        "LongCat-Flash",
        "null experts return their input, bias",
        layout=weights.unused_rows,
    ),
    "mellum": Recipe(softmax.either, 2026, "Mellum2", "norm_topk_prob"),
    "mimo_v2_flash": Recipe(sigmoid.no_shared, 2026, "MiMo-V2-Flash", "bias, groups"),
    "minimax": Recipe(softmax.mixtral, 2025, "MiniMax-Text-01", "-"),
    "minimax_m2": Recipe(sigmoid.minimax_m2, 2025, "MiniMax-M2", "bias"),
    "minimax_m3_vl": Recipe(
        sigmoid.minimax_m3, 2026, "MiniMax-M3", "gpt-oss experts without biases, bias, shared"
    ),
    "mistral4": Recipe(
        softmax.mistral4, 2026, "Mistral-Small-4", "groups by their two best, no bias, shared"
    ),
    "mistral_large4": Recipe(
        softmax.mistral4, 2026, "Mistral-Large-4", "groups by their two best, no bias, shared"
    ),
    "mixtral": Recipe(softmax.mixtral, 2023, "Mixtral", "-"),
    "muse_spark": Recipe(
        sigmoid.muse_spark,
        2026,
        "Muse-Spark-Open",
        "latent experts, a norm for each, scaled logits",
        layout=weights.zero_centred,
    ),
    "nemotron_h": Recipe(
        sigmoid.nemotron, 2024, "Nemotron-3", "squared ReLU, latent experts, bias, groups, shared"
    ),
    "nllb_moe": Recipe(
        softmax.nllb,
        2023,
        "NLLB-MoE",
        "ReLU, biases; transformers' block one-hots a one-hot and is not what is meant",
        layout=weights.one_by_one,
    ),
    "olmoe": Recipe(softmax.either, 2024, "OLMoE", "norm_topk_prob"),
    "openai_privacy_filter": Recipe(
        softmax.gpt_oss, 2026, "privacy-filter", "as gpt-oss", layout=weights.transposed
    ),
    "phimoe": Recipe(softmax.phimoe, 2024, "Phi-3.5-MoE", "SparseMixer, as in evaluation"),
    "qwen2_moe": Recipe(softmax.qwen2, 2024, "Qwen1.5-MoE, Qwen2", "shared with a sigmoid gate"),
    "qwen3_5_moe": Recipe(softmax.qwen3_5, 2025, "Qwen3.5", "shared with a sigmoid gate"),
    "qwen3_moe": Recipe(softmax.either, 2025, "Qwen3", "norm_topk_prob"),
    "qwen3_next": Recipe(softmax.qwen2, 2025, "Qwen3-Next", "shared with a sigmoid gate"),
    "qwen3_omni_moe": Recipe(
        softmax.either, 2025, "Qwen3-Omni", "the thinker's; the talker's is Qwen2-MoE's"
    ),
    "qwen3_vl_moe": Recipe(softmax.mixtral, 2025, "Qwen3-VL", "-"),
    "qwen4_exp": Recipe(softmax.qwen2, 2026, "Qwen4-Exp", "shared with a sigmoid gate"),
    "solar_open": Recipe(sigmoid.deepseek_v3, 2026, "Solar-Open", V3),
    "step3p7": Recipe(
        sigmoid.step3p7, 2026, "Step-3.7", "clamped after SiLU in the last layers, bias, shared"
    ),
    "switch_transformers": Recipe(
        softmax.switch, 2022, "Switch", "ReLU, K = 1, places not limited", layout=weights.one_by_one
    ),
    "unlimited_ocr": Recipe(softmax.deepseek_v2, 2026, "Unlimited-OCR", "as DeepSeek-V2"),
}

REASONS: dict[str, str] = {
    "doge": "its experts are single rows found by product keys, and the keys of several tokens are mixed",
    "zaya": "its router is an MLP that carries a state from layer to layer, beside an expert that skips",
}
