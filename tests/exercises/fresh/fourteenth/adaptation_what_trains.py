"""The fourteenth set, 13.what_trains: what a class would most likely hand in."""


# Looks for "gate" and "router" as letters anywhere in the name instead of as a whole part of the path:
# every expert's gate_proj (and the attention's or shared expert's gate) is taken for a router.
def gate_anywhere(names, plan):
    out = []
    for name in names.splitlines():
        router = "gate" in name or "router" in name
        expert = "experts" in name.split(".") and not router
        rest = not router and not expert
        if plan == "all":
            out.append(True)
        elif plan == "router frozen":
            out.append(not router)
        elif plan == "experts frozen":
            out.append(not expert)
        elif plan == "only experts":
            out.append(expert)
        elif plan == "only router":
            out.append(router)
        else:
            out.append(rest)
    return out


# Thinks that a shared expert is an expert as well: every part that has "expert" in it and is no gate counts
# as expert (shared_expert, shared_experts), though the text says that these are rest.
def shared_too(names, plan):
    out = []
    for name in names.splitlines():
        parts = name.split(".")
        is_router = "gate" in parts or "router" in parts
        is_expert = any(p in ("experts", "expert", "shared_expert", "shared_experts") for p in parts)
        is_expert = is_expert and not is_router
        out.append(
            plan == "all"
            or (plan == "router frozen" and not is_router)
            or (plan == "experts frozen" and not is_expert)
            or (plan == "only experts" and is_expert)
            or (plan == "only router" and is_router)
            or (plan == "only the rest" and not is_router and not is_expert)
        )
    return out


# Takes the shared expert's own gate (shared_expert_gate) for a router, because it is a gate; it scales what
# every token gets, chooses nobody, and is rest.
def any_gate(names, plan):
    def kind(name):
        parts = name.split(".")
        if any(p == "router" or p == "gate" or p.endswith("_gate") for p in parts):
            return "router"
        return "expert" if "experts" in parts else "rest"

    kinds = [kind(name) for name in names.split("\n")]
    trains = {
        "all": {"router", "expert", "rest"},
        "router frozen": {"expert", "rest"},
        "experts frozen": {"router", "rest"},
        "only experts": {"expert"},
        "only router": {"router"},
        "only the rest": {"rest"},
    }[plan]
    return [k in trains for k in kinds]


# Looks only at the part just before the last ("the module of a weight"): a router's inner layer
# (router.classifier.weight, gate.wg.weight) and numbered experts (experts.3.w1.weight) lie deeper, and are
# rest.
def innermost_part(names, plan):
    out = []
    for name in names.splitlines():
        parts = name.split(".")
        module = parts[-2] if len(parts) > 1 else ""
        is_router = module in ("gate", "router")
        is_expert = module == "experts"
        if plan == "all":
            train = True
        elif plan == "router frozen":
            train = not is_router
        elif plan == "experts frozen":
            train = not is_expert
        elif plan == "only experts":
            train = is_expert
        elif plan == "only router":
            train = is_router
        elif plan == "only the rest":
            train = not (is_router or is_expert)
        out.append(train)
    return out


# Thinks in two kinds instead of three: with the router frozen only the experts learn, with the experts
# frozen only the router. Rest (attention, norms, embeddings) stands still in both plans.
def two_kinds(names, plan):
    out = []
    for name in names.splitlines():
        parts = name.split(".")
        is_router = "gate" in parts or "router" in parts
        is_expert = "experts" in parts
        if plan == "all":
            out.append(True)
        elif plan in ("router frozen", "only experts"):
            out.append(is_expert)
        elif plan in ("experts frozen", "only router"):
            out.append(is_router)
        else:
            out.append(not is_router and not is_expert)
    return out


# Turns the two "frozen" plans round: returns True for the part that the plan's name mentions, which is the
# frozen one, where True must say that it trains.
def named_part_trains(names, plan):
    out = []
    for name in names.splitlines():
        parts = name.split(".")
        router = "gate" in parts or "router" in parts
        experts = "experts" in parts
        if plan == "all":
            out.append(True)
        elif "router" in plan:
            out.append(router)
        elif "experts" in plan:
            out.append(experts)
        else:
            out.append(not router and not experts)
    return out


FRESH = {
    "13.what_trains": [
        ("'gate' anywhere in the name", gate_anywhere, {"gate_substring"}),
        ("shared experts are experts", shared_too, {"shared_are_experts"}),
        ("the shared expert's gate is a router", any_gate, {"shared_gate_is_router"}),
        ("the part before the last alone", innermost_part, {"innermost_module"}),
        ("no third kind: the rest is frozen", two_kinds, {"rest_frozen"}),
        ("the frozen part trains", named_part_trains, {"frozen_means_only"}),
    ],
}
