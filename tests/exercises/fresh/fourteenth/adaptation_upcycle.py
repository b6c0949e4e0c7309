"""The fourteenth set, 13.upcycle: what a class would most likely hand in."""

import torch


# Cuts gate_up_HD as a whole into G runs of rows, and does not see that it holds gate rows and then up rows:
# the first slices get only gate rows, the last ones only up rows.
def cut_as_stacked(gate_up_HD, down_DF, rows_RD, granularity):
    G, R = granularity, rows_RD.shape[0]
    gate_up_EHD = torch.stack(gate_up_HD.chunk(G, dim=0)).repeat(R, 1, 1)
    down_EDF = torch.stack(down_DF.chunk(G, dim=1)).repeat(R, 1, 1)
    rows_ED = rows_RD.repeat_interleave(G, dim=0)
    return gate_up_EHD, down_EDF, rows_ED, G


# Repeats the router rows as a block (row 0, 1, ..., R-1, 0, 1, ...) instead of each row G times in a run:
# the slices of a copy have different rows, and a token gets the same slice of several copies.
def rows_as_a_block(gate_up_HD, down_DF, rows_RD, granularity):
    G, R = granularity, len(rows_RD)
    gate_FD, up_FD = gate_up_HD.chunk(2)
    pieces = [torch.cat([g, u]) for g, u in zip(gate_FD.chunk(G), up_FD.chunk(G), strict=False)]
    gate_up_EHD = torch.stack(pieces * R)
    down_EDF = torch.stack(list(down_DF.chunk(G, dim=1)) * R)
    rows_ED = rows_RD.repeat(G, 1)
    return gate_up_EHD, down_EDF, rows_ED, G


# Thinks that no factor is needed (1), because the weights of the chosen slices sum to 1, as with whole
# copies; but the slices have to be added up, and each has weight 1/G.
def no_factor(gate_up_HD, down_DF, rows_RD, granularity):
    G, R = granularity, len(rows_RD)
    gate_FD, up_FD = gate_up_HD.chunk(2)
    pieces = [torch.cat([g, u]) for g, u in zip(gate_FD.chunk(G), up_FD.chunk(G), strict=False)]
    gate_up_EHD = torch.stack(pieces * R)
    down_EDF = torch.stack(list(down_DF.chunk(G, dim=1)) * R)
    rows_ED = rows_RD.repeat_interleave(G, dim=0)
    return gate_up_EHD, down_EDF, rows_ED, 1.0


# Gets the slices of down_DF with a reshape to [G, D, F/G], which has the right shape but runs through the
# rows: it does not cut the columns, and each slice holds pieces of other output rows.
def down_reshape(gate_up_HD, down_DF, rows_RD, granularity):
    G = granularity
    R, D = rows_RD.shape
    F_ = down_DF.shape[1]
    gate, up = gate_up_HD[:F_], gate_up_HD[F_:]
    experts = torch.cat([gate.reshape(G, F_ // G, D), up.reshape(G, F_ // G, D)], dim=1)
    down = down_DF.reshape(G, D, F_ // G)
    return experts.repeat(R, 1, 1), down.repeat(R, 1, 1), rows_RD.repeat_interleave(G, 0), G


# Copies the weights with detach().clone() into new tensors, so that the copies "are independent of each
# other": all numbers are right, but no gradient flows back to the dense network and the rows.
def cloned(gate_up_HD, down_DF, rows_RD, granularity):
    R = rows_RD.shape[0]
    G = granularity
    F_ = down_DF.shape[1]
    f = F_ // G
    gate, up = gate_up_HD[:F_], gate_up_HD[F_:]
    experts, downs, rows = [], [], []
    for r in range(R):
        for g in range(G):
            part = slice(g * f, (g + 1) * f)
            experts.append(torch.cat([gate[part], up[part]]).detach().clone())
            downs.append(down_DF[:, part].detach().clone())
            rows.append(rows_RD[r].detach().clone())
    return torch.stack(experts), torch.stack(downs), torch.stack(rows), G


# Repeats each slice R times in a run (repeat_interleave), as with the router rows, instead of the whole
# list: slice 0 of all copies comes first, so the G experts with one router row are the same slice again.
def slices_in_runs(gate_up_HD, down_DF, rows_RD, granularity):
    G, R = granularity, rows_RD.shape[0]
    gate_FD, up_FD = gate_up_HD.chunk(2)
    slices = torch.stack([torch.cat(pair) for pair in zip(gate_FD.chunk(G), up_FD.chunk(G), strict=False)])
    downs = torch.stack(down_DF.chunk(G, dim=1))
    return (
        slices.repeat_interleave(R, dim=0),
        downs.repeat_interleave(R, dim=0),
        rows_RD.repeat_interleave(G, dim=0),
        G,
    )


FRESH = {
    "13.upcycle": [
        ("gate_up cut as it lies", cut_as_stacked, {"stacked_rows"}),
        ("router rows as a block", rows_as_a_block, {"router_tiled"}),
        ("factor 1", no_factor, {"factor_one"}),
        ("down reshaped", down_reshape, {"down_reshaped"}),
        ("detached copies", cloned, {"gradient_lost"}),
        ("each slice R times in a run", slices_in_runs, {"slice_major"}),
    ],
}
