"""The fifteenth set, 13.what_trains: what a class would most likely hand in."""


def _plan(router, expert, plan):
    return {
        "all": True,
        "router frozen": not router,
        "experts frozen": not expert,
        "only experts": expert,
        "only router": router,
        "only the rest": not router and not expert,
    }[plan]


# The learner searches for the letters "gate" or "router" anywhere in the name, so that gate_proj,
# gate_up_proj and shared_expert_gate count as routers. (Experts are found by whole parts.)
def letters(names, plan):
    moves = []
    for name in names.splitlines():
        is_router = "gate" in name or "router" in name
        is_expert = "experts" in name.split(".")
        moves.append(_plan(is_router, is_expert, plan))
    return moves


# The learner searches for the letters "expert" anywhere, so that shared experts (shared_experts,
# shared_expert) and their gate count as experts. (Routers are found by whole parts.)
def any_expert(names, plan):
    moves = []
    for name in names.splitlines():
        parts = name.split(".")
        is_router = "gate" in parts or "router" in parts
        is_expert = any("expert" in part for part in parts)
        moves.append(_plan(is_router, is_expert, plan))
    return moves


# The learner returns whether a parameter is frozen, not whether it trains: every bool is the other way
# round.
def frozen(names, plan):
    frozen = []
    for name in names.splitlines():
        parts = name.split(".")
        is_router = "gate" in parts or "router" in parts
        is_expert = "experts" in parts
        trains = _plan(is_router, is_expert, plan)
        frozen.append(not trains)
    return frozen


# The learner believes that the router belongs to the experts: "experts frozen" freezes the routers too, and
# "only experts" trains them along.
def router_among_experts(names, plan):
    moves = []
    for name in names.splitlines():
        parts = name.split(".")
        is_router = "gate" in parts or "router" in parts
        is_expert = "experts" in parts or is_router
        moves.append(_plan(is_router, is_expert, plan))
    return moves


# The learner reads "only the rest" as "all but the experts" and forgets that the routers are not rest
# either.
def rest_with_router(names, plan):
    moves = []
    for name in names.splitlines():
        parts = name.split(".")
        is_router = "gate" in parts or "router" in parts
        is_expert = "experts" in parts
        if plan == "all":
            moves.append(True)
        elif plan == "router frozen":
            moves.append(not is_router)
        elif plan in ("experts frozen", "only the rest"):
            moves.append(not is_expert)
        elif plan == "only experts":
            moves.append(is_expert)
        else:
            moves.append(is_router)
    return moves


# The learner looks for routers under the name "gate" only and forgets the codebases that call it "router":
# those routers count as rest.
def gate_alone(names, plan):
    moves = []
    for name in names.splitlines():
        parts = name.split(".")
        is_router = "gate" in parts
        is_expert = "experts" in parts
        moves.append(_plan(is_router, is_expert, plan))
    return moves


FRESH = {
    "13.what_trains": [
        ("'gate' anywhere", letters, {"gate_substring"}),
        ("'expert' anywhere", any_expert, {"shared_are_experts"}),
        ("what is frozen", frozen, {"inverted"}),
        ("the router is an expert", router_among_experts, {"router_is_an_expert"}),
        ("the rest with the router", rest_with_router, {"rest_keeps_router"}),
        ("routers called gate alone", gate_alone, {"router_called_gate"}),
    ],
}
