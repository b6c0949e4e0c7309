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
    special : str
        What sets it apart, in a few words.
    models : str
        Models of this type that people know.
    layout : callable, optional
        How its tensors lie, where that is not Mixtral's way: a function of `weights`.
    inside, ignored : str
        Patterns of names: the layer's part of what is read, and what in it is not the layer's.
    """

    spec: Callable[[Fields], LayerSpec]
    special: str
    models: str = ""
    layout: weights.Layout | None = None
    inside: str = ""
    ignored: str = ""


GRANITE = r"block_sparse_moe\."
NOT_GRANITE = r"(self_attn|mamba|input_layernorm|post_attention_layernorm)\..*"
GEMMA = r"(?!router\.|experts\.|pre_feedforward_layernorm_2\.|post_feedforward_layernorm_2\.).*"

V3 = "bias for the choice, groups, shared"

RECIPES: dict[str, Recipe] = {
    "afmoe": Recipe(sigmoid.afmoe, "bias, shared", "Trinity"),
    "aria": Recipe(softmax.aria, "shared", "Aria", weights.transposed),
    "axk1": Recipe(sigmoid.axk1, f"{V3}, norm at the end", "A.X-K1"),
    "axk2": Recipe(sigmoid.axk2, f"{V3}; groups left out count as 0", "A.X-K2"),
    "bailing_hybrid": Recipe(sigmoid.deepseek_v3, V3, "Ling-2.5, Ring-2.5"),
    "beam": Recipe(sigmoid.no_shared, "bias, groups"),
    "cohere2_moe": Recipe(sigmoid.cohere2, "softmax or sigmoid; shared experts may be averaged", "Command"),
    "dbrx": Recipe(softmax.dbrx, "divided by a p-norm", "DBRX", weights.dbrx),
    "deepseek_ocr2": Recipe(softmax.deepseek_v2, "as DeepSeek-V2", "DeepSeek-OCR-2"),
    "deepseek_v2": Recipe(softmax.deepseek_v2, "groups by their best, scaled, shared", "DeepSeek-V2"),
    "deepseek_v3": Recipe(sigmoid.deepseek_v3, V3, "DeepSeek-V3, R1, Kimi-K2"),
    "deepseek_v32": Recipe(sigmoid.deepseek_v3, V3, "DeepSeek-V3.2"),
    "deepseek_v4": Recipe(
        sigmoid.deepseek_v4, "clamped experts, bias, shared; the first layers hash", "DeepSeek-V4"
    ),
    "diffusion_gemma": Recipe(softmax.gemma4, "as Gemma-4", "DiffusionGemma", None, "", GEMMA),
    "dots1": Recipe(sigmoid.deepseek_v3, V3, "dots.llm1"),
    "dots3_note": Recipe(sigmoid.dots3, f"{V3} of their own width", "dots.note"),
    "ernie4_5_moe": Recipe(softmax.ernie, "bias on probabilities, least sum, shared", "ERNIE-4.5"),
    "ernie4_5_vl_moe": Recipe(
        softmax.ernie,
        "text experts; vision has others",
        "ERNIE-4.5-VL",
        None,
        r"text_moe\.",
        r"vision_moe\..*",
    ),
    "exaone_moe": Recipe(sigmoid.deepseek_v3, V3, "K-EXAONE"),
    "flex_olmo": Recipe(softmax.either, "norm_topk_prob", "FlexOlmo"),
    "flint": Recipe(sigmoid.flint, "no bias, shared", "Flint"),
    "gemma4": Recipe(
        softmax.gemma4, "router norm, scale per expert, norms around GeGLU", "Gemma-4", None, "", GEMMA
    ),
    "glm4_moe": Recipe(sigmoid.deepseek_v3, V3, "GLM-4.5, 4.6, 4.7"),
    "glm4_moe_lite": Recipe(sigmoid.deepseek_v3, V3, "GLM-4.7-Flash"),
    "glm4v_moe": Recipe(sigmoid.deepseek_v3, V3, "GLM-4.5V"),
    "glm5_next": Recipe(sigmoid.clamped, f"clamped experts, {V3}", "GLM-5-Next"),
    "glm_moe_dsa": Recipe(sigmoid.deepseek_v3, V3, "GLM-5"),
    "gpt_oss": Recipe(softmax.gpt_oss, "biases, clamped experts with up + 1", "gpt-oss", weights.interleaved),
    "granitemoe": Recipe(softmax.mixtral, "-", "Granite-3"),
    "granitemoe_swa": Recipe(
        softmax.granite, "shared, next to the block", "Granite", None, GRANITE, NOT_GRANITE
    ),
    "granitemoehybrid": Recipe(
        softmax.granite, "shared, next to the block", "Granite-4", None, GRANITE, NOT_GRANITE
    ),
    "granitemoeshared": Recipe(
        softmax.granite, "shared, next to the block", "Granite-3", None, GRANITE, NOT_GRANITE
    ),
    "hunyuan_v1_moe": Recipe(softmax.hunyuan, "shared", "Hunyuan-A13B"),
    "hy_v3": Recipe(sigmoid.hy_v3, "bias, shared", "Hunyuan-3"),
    "hy_v4": Recipe(sigmoid.hy_v4, f"clamped routed experts, {V3}", "Hunyuan-4"),
    "inkling": Recipe(
        sigmoid.inkling, "shared experts routed too, learned scale", "Inkling", weights.shared_in_the_bank
    ),
    "inkling2": Recipe(sigmoid.inkling2, "softcapped experts, bias", "Inkling-2"),
    "jamba": Recipe(softmax.kept, "-", "Jamba"),
    "jetmoe": Recipe(softmax.jetmoe, "bias at the end; attention experts are left out", "JetMoE"),
    "kimi_linear": Recipe(sigmoid.deepseek_v3, V3, "Kimi-Linear"),
    "kolibri1": Recipe(sigmoid.kolibri, "bias on the logits, shared", "Kolibri-1"),
    "laguna": Recipe(sigmoid.laguna, "softcapped logits, bias, shared", "Laguna"),
    "lfm2_moe": Recipe(sigmoid.lfm2, "bias, eps 1e-6", "LFM2-8B-A1B"),
    "llama4": Recipe(sigmoid.llama4, "weight on the input, shared", "Llama-4", weights.transposed),
    "longcat_flash": Recipe(
        softmax.longcat, "null experts return their input, bias", "LongCat-Flash", weights.unused_rows
    ),
    "mellum": Recipe(softmax.either, "norm_topk_prob", "Mellum"),
    "mimo_v2_flash": Recipe(sigmoid.no_shared, "bias, groups", "MiMo-V2-Flash"),
    "minimax": Recipe(softmax.mixtral, "-", "MiniMax-01, M1"),
    "minimax_m2": Recipe(sigmoid.minimax_m2, "bias", "MiniMax-M2"),
    "minimax_m3_vl": Recipe(sigmoid.minimax_m3, "gpt-oss experts without biases, bias, shared", "MiniMax-M3"),
    "mistral4": Recipe(softmax.mistral4, "groups by their two best, no bias, shared", "Mistral-Small-4"),
    "mistral_large4": Recipe(
        softmax.mistral4, "groups by their two best, no bias, shared", "Mistral-Large-4"
    ),
    "mixtral": Recipe(softmax.mixtral, "-", "Mixtral"),
    "muse_spark": Recipe(
        sigmoid.muse_spark,
        "latent experts, a norm for each, scaled logits",
        "Muse Spark",
        weights.zero_centred,
    ),
    "nemotron_h": Recipe(
        sigmoid.nemotron, "squared ReLU, latent experts, bias, groups, shared", "Nemotron-3"
    ),
    "nllb_moe": Recipe(
        softmax.nllb,
        "ReLU, biases; transformers' block one-hots a one-hot and is not what is meant",
        "NLLB-MoE",
        weights.one_by_one,
    ),
    "olmoe": Recipe(softmax.either, "norm_topk_prob", "OLMoE"),
    "openai_privacy_filter": Recipe(
        softmax.gpt_oss, "as gpt-oss", "gpt-oss-privacy-filter", weights.transposed
    ),
    "phimoe": Recipe(softmax.phimoe, "SparseMixer, as in evaluation", "Phi-3.5-MoE"),
    "qwen2_moe": Recipe(softmax.qwen2, "shared with a sigmoid gate", "Qwen1.5-MoE, Qwen2-57B-A14B"),
    "qwen3_5_moe": Recipe(softmax.qwen3_5, "shared with a sigmoid gate", "Qwen3.5"),
    "qwen3_moe": Recipe(softmax.either, "norm_topk_prob", "Qwen3-30B-A3B, Qwen3-235B-A22B"),
    "qwen3_next": Recipe(softmax.qwen2, "shared with a sigmoid gate", "Qwen3-Next"),
    "qwen3_omni_moe": Recipe(softmax.either, "the thinker's; the talker's is Qwen2-MoE's", "Qwen3-Omni"),
    "qwen3_vl_moe": Recipe(softmax.mixtral, "-", "Qwen3-VL"),
    "qwen4_exp": Recipe(softmax.qwen2, "shared with a sigmoid gate"),
    "solar_open": Recipe(sigmoid.deepseek_v3, V3, "Solar-Open"),
    "step3p7": Recipe(sigmoid.step3p7, "clamped after SiLU in the last layers, bias, shared", "Step-3.7"),
    "switch_transformers": Recipe(
        softmax.switch, "ReLU, K = 1, places not limited", "Switch", weights.one_by_one
    ),
    "unlimited_ocr": Recipe(softmax.deepseek_v2, "as DeepSeek-V2", "Unlimited-OCR"),
}

REASONS: dict[str, str] = {
    "doge": "its experts are single rows found by product keys, and the keys of several tokens are mixed",
    "zaya": "its router is an MLP that carries a state from layer to layer, beside an expert that skips",
}
