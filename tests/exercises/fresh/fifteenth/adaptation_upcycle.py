"""The fifteenth set, 13.upcycle: what a class would most likely hand in."""

import torch


# The learner cuts gate_up straight into G runs of 2F/G rows, without parting gate from up first: some
# slices are all gate rows, others all up rows.
def cut_as_stacked(gate_up_HD, down_DF, rows_RD, granularity):
    R, G = rows_RD.shape[0], granularity
    gate_up_EHD = torch.stack(gate_up_HD.chunk(G)).repeat(R, 1, 1)
    down_EDF = torch.stack(down_DF.chunk(G, dim=1)).repeat(R, 1, 1)
    return gate_up_EHD, down_EDF, rows_RD.repeat_interleave(G, dim=0), float(G)


# The learner tiles the router rows (copy 0, 1, ..., 0, 1, ...) where each should be repeated G times side
# by side: slices of one copy have different rows.
def tiled_rows(gate_up_HD, down_DF, rows_RD, granularity):
    R, G = rows_RD.shape[0], granularity
    gate, up = gate_up_HD.chunk(2)
    slices = [torch.cat([g, u]) for g, u in zip(gate.chunk(G), up.chunk(G), strict=True)]
    gate_up_EHD = torch.stack(slices).repeat(R, 1, 1)
    down_EDF = torch.stack(down_DF.chunk(G, dim=1)).repeat(R, 1, 1)
    return gate_up_EHD, down_EDF, rows_RD.repeat(G, 1), float(G)


# The learner believes that no factor is needed (1.0), because the weights of a softmax sum to 1 already;
# but each slice gets 1/G, and the slices must be added, not averaged.
def no_factor(gate_up_HD, down_DF, rows_RD, granularity):
    R, G = rows_RD.shape[0], granularity
    gate, up = gate_up_HD.chunk(2)
    slices = [torch.cat([g, u]) for g, u in zip(gate.chunk(G), up.chunk(G), strict=True)]
    gate_up_EHD = torch.stack(slices).repeat(R, 1, 1)
    down_EDF = torch.stack(down_DF.chunk(G, dim=1)).repeat(R, 1, 1)
    return gate_up_EHD, down_EDF, rows_RD.repeat_interleave(G, dim=0), 1.0


# The learner repeats each slice R times side by side: slice 0 of all copies first, not copy 0's slices
# first. So experts that share a router row are the same slice again and again.
def slices_side_by_side(gate_up_HD, down_DF, rows_RD, granularity):
    R, G = rows_RD.shape[0], granularity
    gate, up = gate_up_HD.chunk(2)
    slices = [torch.cat([g, u]) for g, u in zip(gate.chunk(G), up.chunk(G), strict=True)]
    gate_up_EHD = torch.stack(slices).repeat_interleave(R, dim=0)
    down_EDF = torch.stack(down_DF.chunk(G, dim=1)).repeat_interleave(R, dim=0)
    return gate_up_EHD, down_EDF, rows_RD.repeat_interleave(G, dim=0), float(G)


# The learner cuts down_DF by a view to [G, D, F/G] instead of cutting its columns: the shape is right, but
# each slice holds whole rows of down folded up, not its columns.
def down_reshaped(gate_up_HD, down_DF, rows_RD, granularity):
    R, G = rows_RD.shape[0], granularity
    D, n_hidden = down_DF.shape
    gate, up = gate_up_HD.chunk(2)
    slices = [torch.cat([g, u]) for g, u in zip(gate.chunk(G), up.chunk(G), strict=True)]
    gate_up_EHD = torch.stack(slices).repeat(R, 1, 1)
    down_EDF = down_DF.reshape(G, D, n_hidden // G).repeat(R, 1, 1)
    return gate_up_EHD, down_EDF, rows_RD.repeat_interleave(G, dim=0), float(G)


# The learner believes that copies must be cut off from the original to be independent, and detaches them:
# all values are right, and no gradient flows back.
def cut_off(gate_up_HD, down_DF, rows_RD, granularity):
    G = granularity
    gate, up = gate_up_HD.chunk(2)
    experts, downs, rows = [], [], []
    for row in rows_RD:
        for g, u, d in zip(gate.chunk(G), up.chunk(G), down_DF.chunk(G, dim=1), strict=True):
            experts.append(torch.cat([g, u]).detach().clone())
            downs.append(d.detach().clone())
            rows.append(row.detach().clone())
    return torch.stack(experts), torch.stack(downs), torch.stack(rows), float(G)


FRESH = {
    "13.upcycle": [
        ("gate and up cut as stacked", cut_as_stacked, {"stacked_rows"}),
        ("router rows as a block", tiled_rows, {"router_tiled"}),
        ("factor 1", no_factor, {"factor_one"}),
        ("a slice's copies side by side", slices_side_by_side, {"slice_major"}),
        ("down reshaped", down_reshaped, {"down_reshaped"}),
        ("detached copies", cut_off, {"gradient_lost"}),
    ],
}
