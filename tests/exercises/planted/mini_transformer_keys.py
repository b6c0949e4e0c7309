"""Answers to 10.mixtral_keys as learners write them: wrong ones by misconception, and right ones."""

import torch


def begin(router, layer, name="gate"):
    return {f"model.layers.{layer}.block_sparse_moe.{name}.weight": router.clone()}


def keys_by_rows(router_ED, gate_up_proj, down_proj, layer):
    state, half = begin(router_ED, layer), down_proj.shape[-1]
    for e in range(len(router_ED)):
        key = f"model.layers.{layer}.block_sparse_moe.experts.{e}"
        state[f"{key}.w1.weight"] = gate_up_proj[e, :half].clone()
        state[f"{key}.w2.weight"] = down_proj[e].clone()
        state[f"{key}.w3.weight"] = gate_up_proj[e, half:].clone()
    return state


def keys_by_linear(router_ED, gate_up_proj, down_proj, layer):
    """Fill modules that are built as Mixtral's are, and ask them for their state."""
    root = torch.nn.Module()
    root.gate = torch.nn.Linear(router_ED.shape[1], len(router_ED), bias=False)
    root.experts = torch.nn.ModuleList()
    root.gate = root.gate.to(router_ED.dtype)
    root.gate.weight.data.copy_(router_ED)
    gates, ups = gate_up_proj.chunk(2, dim=1)
    for gate, up, down in zip(gates, ups, down_proj, strict=True):
        expert = torch.nn.Module()
        for name, weight in {"w3": up, "w1": gate, "w2": down}.items():
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
            linear = linear.to(weight.dtype)
            linear.weight.data.copy_(weight)
            setattr(expert, name, linear)
        root.experts.append(expert)
    return root.state_dict(prefix=f"model.layers.{layer}.block_sparse_moe.")


def keys_rebuilt(router_ED, gate_up_proj, down_proj, layer):
    stem = f"model.layers.{layer}.block_sparse_moe."
    gate_EFD, up_EFD = gate_up_proj.unflatten(1, (2, -1)).unbind(1)
    banks = {"w1": gate_EFD, "w2": down_proj, "w3": up_EFD}
    flat = {
        f"{stem}experts.{e}.{name}.weight": torch.tensor(bank[e].tolist(), dtype=bank.dtype)
        for name, bank in banks.items()
        for e in range(bank.shape[0])
    }
    return flat | {stem + "gate.weight": torch.tensor(router_ED.tolist(), dtype=router_ED.dtype)}


def each_expert(place, start=0, router="gate"):
    def answer(router_ED, gate_up_proj, down_proj, layer):
        state = begin(router_ED, layer, router)
        for e, (gate_up, down) in enumerate(zip(gate_up_proj, down_proj, strict=True), start):
            for number, weight in enumerate(place(gate_up, down), 1):
                state[f"model.layers.{layer}.block_sparse_moe.experts.{e}.w{number}.weight"] = weight
        return state

    return answer


def halves(gate_up):
    half = gate_up.shape[0] // 2
    return gate_up[:half].clone(), gate_up[half:].clone()


def place_in_order(gate_up, down):
    return *halves(gate_up), down.clone()


def place_right(gate_up, down):
    gate, up = halves(gate_up)
    return gate, down.clone(), up


def place_views(gate_up, down):
    gate, up = gate_up.chunk(2)
    return gate, down, up


def place_swapped(gate_up, down):
    gate, up = halves(gate_up)
    return up, down.clone(), gate


def place_transposed(gate_up, down):
    return tuple(weight.T.contiguous() for weight in place_right(gate_up, down))


def place_down_transposed(gate_up, down):
    gate, up = halves(gate_up)
    return gate, down.t(), up


def place_interleaved(gate_up, down):
    gate, up = gate_up.unflatten(0, (-1, 2)).unbind(1)
    return gate.contiguous(), down.clone(), up.contiguous()


def place_columns(gate_up, down):
    half = gate_up.shape[1] // 2
    return gate_up[:, :half].contiguous(), down.clone(), gate_up[:, half:].contiguous()


def keys_fused(router_ED, gate_up_proj, down_proj, layer):
    stem = f"model.layers.{layer}.block_sparse_moe.experts."
    return begin(router_ED, layer) | {stem + "gate_up_proj": gate_up_proj, stem + "down_proj": down_proj}


def keys_bare(*args):
    return {name.removesuffix(".weight"): weight for name, weight in keys_by_rows(*args).items()}


def keys_in_fp32(*args):
    return {name: weight.float() for name, weight in keys_by_rows(*args).items()}


def keys_of_modules(router_ED, gate_up_proj, down_proj, layer):
    """Linear layers are fp32 unless they are told otherwise."""
    fp32 = (tensor.float() for tensor in (router_ED, gate_up_proj, down_proj))
    return keys_by_linear(*fp32, layer)


def keys_turned_router(router_ED, *rest):
    state = keys_by_rows(router_ED, *rest)
    return {n: w.t().contiguous() if n.endswith("gate.weight") else w for n, w in state.items()}


def keys_renamed(*args):
    return {name.replace("block_sparse_moe", "mlp"): w for name, w in keys_by_rows(*args).items()}


def keys_without_model(*args):
    return {name.removeprefix("model."): w for name, w in keys_by_rows(*args).items()}


def keys_contiguous(router_ED, gate_up_proj, down_proj, layer):
    state = keys_by_rows(router_ED, gate_up_proj, down_proj, layer)
    return state | {name: router_ED for name in state if name.endswith(".gate.weight")}


RIGHT = {"10.mixtral_keys": [keys_by_rows, keys_by_linear, keys_rebuilt]}
WRONG = {
    "10.mixtral_keys": {
        "in_order": each_expert(place_in_order),
        "halves_swapped": each_expert(place_swapped),
        "transposed": each_expert(place_transposed),
        "down_transposed": each_expert(place_down_transposed),
        "interleaved": each_expert(place_interleaved),
        "split_inputs": each_expert(place_columns),
        "views": each_expert(place_views),
        "router_misnamed": each_expert(place_right, router="router"),
        "no_suffix": keys_bare,
        "fused": keys_fused,
        "from_one": each_expert(place_right, start=1),
        "cast": keys_in_fp32,
        "router_transposed": keys_turned_router,
        "first_layer": lambda *args: keys_by_rows(*args[:3], 0),
        "other_stem": keys_renamed,
    },
}
MORE = {
    "10.mixtral_keys": [
        ("cast", keys_of_modules),
        ("other_stem", keys_without_model),
        ("views", keys_contiguous),
    ]
}
