"""The fifteenth set, 13.merge: what a class would most likely hand in."""

import torch
from scipy.optimize import linear_sum_assignment


def _mean(a, b, weight_a):
    return weight_a * a + (1 - weight_a) * b


# The learner builds the table the other way round (rows for b's units, columns for a's), so the assignment
# says for each unit of b its partner in a: b is reordered by the inverse of the permutation that is wanted.
def transposed(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    gate_a, up_a = gate_up_a_HD.chunk(2)
    gate_b, up_b = gate_up_b_HD.chunk(2)
    table = gate_b @ gate_a.T + up_b @ up_a.T + down_b_DF.T @ down_a_DF
    p = torch.as_tensor(linear_sum_assignment(table.detach().numpy(), maximize=True)[1])
    gate_up = _mean(gate_up_a_HD, torch.cat([gate_b[p], up_b[p]]), weight_a)
    return gate_up, _mean(down_a_DF, down_b_DF[:, p], weight_a)


# The learner forgets maximize=True: linear_sum_assignment takes the table for costs, and pairs the units
# that are least alike.
def minimal(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    gate_a, up_a = gate_up_a_HD.chunk(2)
    gate_b, up_b = gate_up_b_HD.chunk(2)
    table = gate_a @ gate_b.T + up_a @ up_b.T + down_a_DF.T @ down_b_DF
    p = torch.as_tensor(linear_sum_assignment(table.detach().numpy())[1])
    gate_up = _mean(gate_up_a_HD, torch.cat([gate_b[p], up_b[p]]), weight_a)
    return gate_up, _mean(down_a_DF, down_b_DF[:, p], weight_a)


# The learner gives each unit of a the unit of b that is most like it (argmax): some units of b are used
# twice and others not at all; it is no pairing.
def each_best(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    gate_a, up_a = gate_up_a_HD.chunk(2)
    gate_b, up_b = gate_up_b_HD.chunk(2)
    table = gate_a @ gate_b.T + up_a @ up_b.T + down_a_DF.T @ down_b_DF
    p = table.argmax(dim=1)
    gate_up = _mean(gate_up_a_HD, torch.cat([gate_b[p], up_b[p]]), weight_a)
    return gate_up, _mean(down_a_DF, down_b_DF[:, p], weight_a)


# The learner reorders the gate and up rows of b and forgets the columns of its down matrix, which must move
# along.
def down_unmoved(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    gate_a, up_a = gate_up_a_HD.chunk(2)
    gate_b, up_b = gate_up_b_HD.chunk(2)
    table = gate_a @ gate_b.T + up_a @ up_b.T + down_a_DF.T @ down_b_DF
    p = torch.as_tensor(linear_sum_assignment(table.detach().numpy(), maximize=True)[1])
    gate_up = _mean(gate_up_a_HD, torch.cat([gate_b[p], up_b[p]]), weight_a)
    return gate_up, _mean(down_a_DF, down_b_DF, weight_a)


# The learner aligns rightly but exchanges the shares: lerp(a, b, weight_a) gives weight_a to b and the rest
# to a.
def shares_exchanged(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    gate_a, up_a = gate_up_a_HD.chunk(2)
    gate_b, up_b = gate_up_b_HD.chunk(2)
    table = gate_a @ gate_b.T + up_a @ up_b.T + down_a_DF.T @ down_b_DF
    p = torch.as_tensor(linear_sum_assignment(table.detach().numpy(), maximize=True)[1])
    gate_up = torch.lerp(gate_up_a_HD, torch.cat([gate_b[p], up_b[p]]), weight_a)
    return gate_up, torch.lerp(down_a_DF, down_b_DF[:, p], weight_a)


# The learner pairs the units by their gate rows alone: up rows and down columns are left out of the table.
def by_gate(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    gate_a, _ = gate_up_a_HD.chunk(2)
    gate_b, up_b = gate_up_b_HD.chunk(2)
    table = gate_a @ gate_b.T
    p = torch.as_tensor(linear_sum_assignment(table.detach().numpy(), maximize=True)[1])
    gate_up = _mean(gate_up_a_HD, torch.cat([gate_b[p], up_b[p]]), weight_a)
    return gate_up, _mean(down_a_DF, down_b_DF[:, p], weight_a)


FRESH = {
    "13.merge": [
        ("the inverse order", transposed, {"inverse_order"}),
        ("the smallest sum", minimal, {"worst_match"}),
        ("each its best", each_best, {"each_its_best"}),
        ("down not moved", down_unmoved, {"down_stays"}),
        ("shares exchanged", shares_exchanged, {"weights_swapped"}),
        ("by the gate alone", by_gate, {"matched_by_one_part"}),
    ],
}
