def gate_family(logits_TE, topk_ids_TK, topk_weights_TK):
    """Return the name of the gate that made these ids and weights from these logits.

    logits_TE: [T, E] fp32. topk_ids_TK: [T, K] integers, K >= 2. topk_weights_TK: [T, K].
    Returns one of "topk_softmax", "softmax_topk_renorm", "softmax_topk", "sigmoid", "sqrt_softplus",
    "topk_sigmoid".
    """
    chosen_TK = logits_TE.gather(-1, topk_ids_TK)

    def like(candidate_TK):
        return torch.allclose(topk_weights_TK, candidate_TK, rtol=1e-3, atol=1e-4)

    def rescaled(scores_TK):  # to the sums of the weights that were given, whatever the scale
        return scores_TK / scores_TK.sum(dim=-1, keepdim=True) * topk_weights_TK.sum(dim=-1, keepdim=True)

    if like(logits_TE.softmax(dim=-1).gather(-1, topk_ids_TK)):
        return "softmax_topk"
    if like(chosen_TK.softmax(dim=-1)):
        return "topk_softmax"
    if like(chosen_TK.sigmoid()):
        return "topk_sigmoid"
    if like(rescaled(chosen_TK.sigmoid())):
        return "sigmoid"
    return "sqrt_softplus"
