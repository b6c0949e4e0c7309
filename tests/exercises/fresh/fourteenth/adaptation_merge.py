"""The fourteenth set, 13.merge: what a class would most likely hand in."""

import torch
from scipy.optimize import linear_sum_assignment


# Builds the table with b's units as rows and a's as columns, but uses the column indices as if they said
# b's partner of each unit of a: the permutation is applied in the wrong direction (the inverse).
def other_direction(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    gate_a, up_a = gate_up_a_HD.chunk(2)
    gate_b, up_b = gate_up_b_HD.chunk(2)
    scores = gate_b @ gate_a.T + up_b @ up_a.T + down_b_DF.T @ down_a_DF
    _, col = linear_sum_assignment(scores.detach().numpy(), maximize=True)
    col = torch.tensor(col)
    gate = weight_a * gate_a + (1 - weight_a) * gate_b[col]
    up = weight_a * up_a + (1 - weight_a) * up_b[col]
    down = weight_a * down_a_DF + (1 - weight_a) * down_b_DF[:, col]
    return torch.cat([gate, up]), down


# Brings only b's gate and up rows into a's order and leaves the columns of its down matrix where they were,
# so that each hidden unit is read out by another one's column.
def down_as_it_was(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    gate_a, up_a = gate_up_a_HD.chunk(2)
    gate_b, up_b = gate_up_b_HD.chunk(2)
    table = gate_a @ gate_b.T + up_a @ up_b.T + down_a_DF.T @ down_b_DF
    p = torch.tensor(linear_sum_assignment(table.detach().numpy(), maximize=True)[1])
    b = torch.cat([gate_b[p], up_b[p]])
    return weight_a * gate_up_a_HD + (1 - weight_a) * b, weight_a * down_a_DF + (1 - weight_a) * down_b_DF


# Pairs the units by their gate rows alone, as if these said what a unit is: up rows and down columns are
# missing in the sum of inner products. (Everything is then moved together, as it should.)
def gates_alone(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    F_ = down_a_DF.shape[1]
    table = gate_up_a_HD[:F_] @ gate_up_b_HD[:F_].T
    p = torch.tensor(linear_sum_assignment(table.detach().numpy(), maximize=True)[1])
    b = torch.cat([gate_up_b_HD[:F_][p], gate_up_b_HD[F_:][p]])
    gate_up = weight_a * gate_up_a_HD + (1 - weight_a) * b
    down = weight_a * down_a_DF + (1 - weight_a) * down_b_DF[:, p]
    return gate_up, down


# Forgets that linear_sum_assignment minimises unless told otherwise: the units are paired with those that
# are least like them.
def minimised(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    gate_a, up_a = gate_up_a_HD.chunk(2)
    gate_b, up_b = gate_up_b_HD.chunk(2)
    similarity = gate_a @ gate_b.T + up_a @ up_b.T + down_a_DF.T @ down_b_DF
    _rows, cols = linear_sum_assignment(similarity.detach().numpy())
    p = torch.from_numpy(cols)
    b = torch.cat([gate_b[p], up_b[p]])
    return (
        weight_a * gate_up_a_HD + (1 - weight_a) * b,
        weight_a * down_a_DF + (1 - weight_a) * down_b_DF[:, p],
    )


# Takes for each unit of a the most similar one of b (argmax of the row) instead of a pairing one to one:
# some units of b are used twice, others not at all.
def argmax_of_rows(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    gate_a, up_a = gate_up_a_HD.chunk(2)
    gate_b, up_b = gate_up_b_HD.chunk(2)
    similarity = gate_a @ gate_b.T + up_a @ up_b.T + down_a_DF.T @ down_b_DF
    p = similarity.argmax(dim=1)
    b = torch.cat([gate_b[p], up_b[p]])
    return (
        weight_a * gate_up_a_HD + (1 - weight_a) * b,
        weight_a * down_a_DF + (1 - weight_a) * down_b_DF[:, p],
    )


# Mixes up the ends of torch.lerp(start, end, weight): weight_a becomes the share of b, and a gets the rest.
def lerp_ends(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    gate_a, up_a = gate_up_a_HD.chunk(2)
    gate_b, up_b = gate_up_b_HD.chunk(2)
    table = gate_a @ gate_b.T + up_a @ up_b.T + down_a_DF.T @ down_b_DF
    p = torch.tensor(linear_sum_assignment(table.detach().numpy(), maximize=True)[1])
    b = torch.cat([gate_b[p], up_b[p]])
    return torch.lerp(gate_up_a_HD, b, weight_a), torch.lerp(down_a_DF, down_b_DF[:, p], weight_a)


FRESH = {
    "13.merge": [
        ("b's units as rows", other_direction, {"inverse_order"}),
        ("down not moved", down_as_it_was, {"down_stays"}),
        ("paired by gates", gates_alone, {"matched_by_one_part"}),
        ("no maximize=True", minimised, {"worst_match"}),
        ("argmax of each row", argmax_of_rows, {"each_its_best"}),
        ("lerp's ends exchanged", lerp_ends, {"weights_swapped"}),
    ],
}
