"""What explainers say about capacity, and what the sources say."""

from moe_lessons.exercises.spec import Claim

CLAIMS = (
    Claim(
        "L88",
        "An expert's capacity is tokens / N, times the capacity factor.",
        "imprecise",
        "That is Switch, with k = 1. With k choices there are k times as many rows: GShard's 2N / (G * E) is "
        "the same formula with k = 2.",
        "arXiv 2101.03961, eq. 3; arXiv 2006.16668, algorithm 1; github.com/microsoft/tutel, "
        "fast_dispatch.py",
    ),
    Claim(
        "L89",
        "A larger capacity factor means a larger buffer and more waste.",
        "correct",
        "Fewer rows are dropped and more places stay empty. At a factor of 1 the two shares are equal.",
        "arXiv 2101.03961, figure 3; computed here",
    ),
    Claim(
        "L90",
        "Tokens that overflow are dropped and pass on through the residual connection.",
        "correct",
        "With k > 1 only the refused expert's share is missing. Served in order, a batch drops its last "
        "tokens far more often; some systems send the refused on to another expert.",
        "arXiv 2101.03961, section 2.2 and appendix B; arXiv 2402.01739",
    ),
    Claim(
        "L91",
        "Recent models avoid dropping tokens.",
        "correct",
        "The published code of Mixtral, OLMoE, DeepSeek, Qwen3 and gpt-oss knows no capacity, that of Switch "
        "and NLLB does. In training OLMoE and DeepSeek-V3 dropped none either; DeepSeek-V2 did.",
        "transformers 5.23; arXiv 2211.15841; arXiv 2409.02060, section 2; arXiv 2412.19437, section 2.1.2; "
        "arXiv 2405.04434, section 2.2",
    ),
    Claim(
        "L92",
        "A capacity factor of 1.25 is common.",
        "imprecise",
        "In one convention, K · T / E times the factor: Switch 1.0 to 1.25, GShard 1.0, ST-MoE 0.625 in "
        "training and 1.0 in evaluation (its own 1.25 and 2.0 have no K), newer models none. The number says "
        "little by itself: tokens per expert and skew decide what it drops.",
        "arXiv 2101.03961, table 1; arXiv 2006.16668, algorithm 1; arXiv 2202.08906, section 5.2; computed",
    ),
)
