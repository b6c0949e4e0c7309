"""Exercise 13.what_trains: which tensors a plan for fine-tuning moves, by their names."""

import numpy as np

from moe_lessons.exercises.adaptation.naming import (
    answer,
    but,
    freeze_too_much,
    innermost,
    inverted,
    is_expert,
    is_router,
    letters,
    matches,
    only_too_much,
    read_as,
    reference,
    rest_keeps,
)
from moe_lessons.exercises.adaptation.parameter_names import PLANS, draw
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

__all__ = ["PLANS", "WHAT_TRAINS"]


def _something(case: Case, got: Outputs, want: Outputs) -> str | None:
    trained = np.asarray(got["trained_P"])
    if trained.ndim == 1 and not trained.any():
        return f"with the plan “{case.args['plan']}” nothing trains at all"
    return None


WHAT_TRAINS = Exercise(
    id="13.what_trains",
    title="What trains?",
    task=(
        "Fine-tuning code finds a model's parts by their names. `names` is one string with a parameter's "
        "name on each line, from several codebases. A parameter is **router** if it lies in a module called "
        "`gate` or `router`, **expert** if it lies in one called `experts`, and **rest** otherwise: shared "
        "experts and their own gate are rest, because every token passes them. Return one bool a line: "
        "does it train? The plans: `all`, `router frozen`, `experts frozen`, `only experts`, `only router`, "
        "`only the rest`."
    ),
    entry="what_trains",
    points=2,
    minutes=12,
    difficulty=2,
    outputs=(Output("trained_P", "P", kind="bool", plain=True),),
    draw=draw,
    reference=reference,
    properties=(Property("each plan trains something", _something),),
    misconceptions=(
        Misconception(
            "gate_substring",
            "Every name with `gate` in it counts as router, `gate_proj` and `gate_up_proj` too. Those are "
            "the gate of a SwiGLU network, a third of all experts. A module's name is a whole part of the "
            "path: split it at its dots.",
            wrong=but(router=lambda n: "gate" in n or "router" in n),
            also=(*letters("gate", "router"), *letters("gate"), *letters("gate", ".router.")),
            hint=1,
        ),
        Misconception(
            "gate_prefix",
            "Each part of a name that *begins* with `gate` counts as router, so `gate_proj` is one. Compare "
            "whole parts.",
            wrong=but(router=lambda n: ".gate" in n or ".router" in n),
            also=(but(router=matches(r"\bgate|\brouter")),),
            hint=1,
        ),
        Misconception(
            "dot_before",
            "A module is found only with a dot before its name. Where a name *begins* with it there is none, "
            "as in `router.weight`, which a layer by itself has: split the name at its dots.",
            wrong=but(lambda n: ".gate." in n or ".router." in n, lambda n: ".experts." in n),
            also=(
                but(router=lambda n: ".gate." in n or ".router." in n),
                but(expert=lambda n: ".experts." in n),
            ),
            hint=2,
        ),
        Misconception(
            "router_by_that_name",
            "Only modules called `router` are found. Mixtral, Qwen, OLMoE and DeepSeek call theirs `gate`: "
            "there the plan changes nothing, without a word.",
            wrong=but(router=lambda n: "router" in n),
            hint=2,
        ),
        Misconception(
            "router_called_gate",
            "Only modules called `gate` are found. gpt-oss and this course call theirs `router`.",
            wrong=but(router=lambda n: "gate" in n.split(".")),
            hint=2,
        ),
        Misconception(
            "router_weight_alone",
            "A router's `weight` is found, and its bias is not. What else lies in the module belongs to it, "
            "whatever it is called: gpt-oss's `bias` enters every logit, DeepSeek's "
            "`e_score_correction_bias` every choice.",
            wrong=but(router=lambda n: n.endswith((".gate.weight", ".router.weight"))),
            also=(
                but(router=lambda n: is_router(n) and n.endswith("weight")),
                but(router=lambda n: n.endswith(("gate.weight", "router.weight"))),
            ),
            hint=1,
        ),
        Misconception(
            "innermost_module",
            "Only the module right around a parameter is looked at. Switch has its router's matrix one level "
            "deeper, `router.classifier.weight`, and most models their experts', `experts.3.w1.weight`: they "
            "lie in `router` and in `experts` all the same.",
            wrong=but(router=innermost("gate", "router")),
            also=(
                but(router=matches(r"\.(gate|router)\.\w+$")),
                but(innermost("gate", "router"), innermost("experts")),
                but(expert=innermost("experts")),
            ),
            hint=2,
        ),
        Misconception(
            "shared_gate_is_router",
            "`shared_expert_gate` counts as router. It chooses nothing: it scales the shared expert, which "
            "every token passes.",
            wrong=but(router=lambda n: is_router(n) or "shared_expert_gate" in n),
            also=(but(router=matches(r"(gate|router)\.")),),
            hint=1,
        ),
        Misconception(
            "shared_are_experts",
            "Shared experts count as experts. Every token passes them, chosen or not, so that they learn "
            "like a dense network; in this exercise they are rest.",
            wrong=but(expert=lambda n: "expert" in n),
            also=(but(expert=lambda n: "expert" in n and "shared_expert_gate" not in n),),
            hint=1,
        ),
        Misconception(
            "router_is_an_expert",
            "The router counts as one of the experts: it is frozen with them, and trains with them. It is a "
            "part by itself: with the experts frozen it goes on learning where to send tokens.",
            wrong=but(expert=lambda n: is_expert(n) or is_router(n)),
            hint=1,
        ),
        Misconception(
            "shared_plural",
            "`shared_experts` ends like `experts` and was taken for it. Compare whole parts.",
            wrong=but(expert=lambda n: "experts" in n),
            also=(but(expert=lambda n: "experts." in n),),
            hint=1,
        ),
        Misconception(
            "experts_by_number",
            "Experts are found by their number, or by a `weight` at the end. Banks that stack all experts in "
            "one tensor have neither, as in `experts.gate_up_proj`, and are missed.",
            wrong=but(expert=matches(r"experts\.\d")),
            also=(but(expert=lambda n: is_expert(n) and n.endswith(".weight")),),
            hint=2,
        ),
        Misconception(
            "bank_biases_missed",
            "The experts' weights are found, their biases are not. A frozen expert with a bias that moves is "
            "not frozen.",
            wrong=but(expert=lambda n: is_expert(n) and "bias" not in n),
            hint=1,
        ),
        Misconception(
            "whole_mlp",
            "Everything in an `mlp` or MoE module counts as expert: routers, shared experts, and the dense "
            "network of the first layer.",
            wrong=but(expert=matches(r"mlp|moe")),
            also=(
                but(expert=matches(r"mlp|moe\.|_moe")),
                but(expert=lambda n: ".mlp." in n or "moe" in n),
                but(expert=lambda n: ".mlp." in n or ".block_sparse_moe." in n or ".moe." in n),
                but(expert=matches(r"(mlp|moe)\.")),
            ),
            hint=2,
        ),
        Misconception(
            "inverted",
            "The answer says what is *frozen*. Asked is what trains: `requires_grad`.",
            wrong=inverted,
            also=(lambda n, p: ~answer(n, p) if p != "all" else answer(n, p),),
            hint=3,
        ),
        Misconception(
            "everything",
            "Everything trains, whatever the plan says. Is the plan compared with the six names, letter by "
            "letter? One that is not known should be an error, and not everything.",
            wrong=read_as(**{plan.replace(" ", "_"): "all" for plan in PLANS}),
            hint=3,
        ),
        Misconception(
            "only_means_frozen",
            "`only experts` and `only router` freeze what they name. “Only” is what trains; all else stands "
            "still.",
            wrong=read_as(only_experts="experts frozen", only_router="router frozen"),
            hint=3,
        ),
        Misconception(
            "frozen_means_only",
            "`experts frozen` and `router frozen` train what they name, and nothing else.",
            wrong=read_as(experts_frozen="only experts", router_frozen="only router"),
            hint=3,
        ),
        Misconception(
            "rest_frozen",
            "With the router frozen only the experts train, or with the experts frozen only the router. A "
            "third kind is the rest: attention, norms and embeddings train unless the plan freezes them.",
            wrong=read_as(router_frozen="only experts", experts_frozen="only router"),
            also=(read_as(router_frozen="only experts"), read_as(experts_frozen="only router")),
            hint=3,
        ),
        Misconception(
            "rest_keeps_router",
            "`only the rest` still trains the router. It is part of the MoE layer: with experts and router "
            "both frozen, the layer's own function stays as it is.",
            wrong=rest_keeps("router"),
            hint=3,
        ),
        Misconception(
            "rest_keeps_experts",
            "`only the rest` still trains the experts. They are most of the model; leave out both kinds.",
            wrong=rest_keeps("experts"),
            hint=3,
        ),
        Misconception(
            "freezes_the_layer",
            "Whatever is to be frozen, router and experts stand still together. The two plans are there to "
            "tell them apart.",
            wrong=freeze_too_much,
            hint=3,
        ),
        Misconception(
            "trains_the_layer",
            "Whichever is to train, router and experts train together. The two plans are there to tell them "
            "apart.",
            wrong=only_too_much,
            hint=3,
        ),
    ),
    hints=(
        "Is `gate` a part of the name, or only some of its letters? Names are paths, which dots cut into "
        "parts.",
        "`name.split('.')` gives the parts. A router has `gate` or `router` among them, an expert has "
        "`experts`. Which of the names above are neither?",
        '`is_router = "gate" in parts or "router" in parts`, `is_expert = "experts" in parts`; then one '
        "line for each plan, such as `not is_router`.",
    ),
    notice=(
        "A pattern that matches nothing freezes nothing and raises no error, so production code counts what "
        "it matched and stops at zero."
    ),
)
