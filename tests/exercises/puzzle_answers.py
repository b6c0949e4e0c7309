"""Answers to the puzzles as learners write them: right ones by other ways, and mistakes that have a name."""

import numpy as np
import torch
import torch.nn.functional as F


def _inverse_by_writing(order_N):
    places = torch.empty_like(order_N)
    places[order_N] = torch.arange(len(order_N))
    return places


def _totals_by_loop(rows_ND, owner_N, n_owners):
    totals = torch.zeros(n_owners, rows_ND.shape[1])
    for row, owner in zip(rows_ND, owner_N, strict=True):
        totals[owner] += row
    return totals


def _placed_by_index(values_NK, ids_NK, n_columns):
    table = torch.zeros(len(ids_NK), n_columns)
    table[torch.arange(len(ids_NK))[:, None], ids_NK] = values_NK
    return table


def _seated_by_index(ticket_N, row_N, seat_N, n_rows, n_seats):
    hall = torch.zeros(n_rows, n_seats, dtype=torch.int64)
    hall[row_N, seat_N] = ticket_N.long()
    return hall


def _delivered_by_index(weight_N, door_N):
    lying = torch.empty_like(weight_N)
    lying[door_N] = weight_N
    return lying


def _may_look_by_rule(n, width):
    return [[i - width < j <= i for j in range(n)] for i in range(n)]


RIGHT = {
    "01.p_centred": [
        lambda x_NM: x_NM - x_NM.mean(-1)[:, None],
        lambda x_NM: (x_NM.T - x_NM.mean(1)).T.double(),
        lambda x_NM: [(row - row.mean()).tolist() for row in x_NM],
    ],
    "01.p_picked": [
        lambda table_NM, ids_NK: torch.take_along_dim(table_NM, ids_NK, dim=1),
        lambda table_NM, ids_NK: torch.stack([row[ids] for row, ids in zip(table_NM, ids_NK, strict=True)]),
        lambda table_NM, ids_NK: [[table_NM[n][i] for i in row] for n, row in enumerate(ids_NK)],
    ],
    "02.p_inverse": [
        _inverse_by_writing,
        lambda order_N: [order_N.tolist().index(person) for person in range(len(order_N))],
        lambda order_N: np.argsort(order_N.numpy()).astype(np.int32),
    ],
    "02.p_totals": [
        _totals_by_loop,
        lambda rows_ND, owner_N, n_owners: F.one_hot(owner_N, n_owners).T.float() @ rows_ND,
        lambda rows_ND, owner_N, n_owners: [rows_ND[owner_N == o].sum(0) for o in range(n_owners)],
    ],
    "02.p_repeated": [
        lambda counts_E: [e for e, n in enumerate(counts_E.tolist()) for _ in range(n)],
        lambda counts_E: np.repeat(np.arange(len(counts_E)), counts_E.numpy()),
        lambda counts_E: torch.repeat_interleave(counts_E).int(),
    ],
    "02.p_products": [
        lambda a_ND, b_ND: torch.einsum("nd,nd->n", a_ND, b_ND),
        lambda a_ND, b_ND: (a_ND @ b_ND.T).diagonal(),
        lambda a_ND, b_ND: [float(a @ b) for a, b in zip(a_ND, b_ND, strict=True)],
    ],
    "02.p_placed": [
        _placed_by_index,
        lambda values_NK, ids_NK, n_columns: (F.one_hot(ids_NK, n_columns) * values_NK[..., None]).sum(1),
    ],
    "04.p_present": [
        lambda x_ND, present_N: (x_ND * present_N[:, None]).sum(0) / present_N.sum(),
        lambda x_ND, present_N: torch.stack(
            [x for x, is_there in zip(x_ND, present_N, strict=True) if is_there]
        ).mean(0),
    ],
    "04.p_takings": [
        lambda spent_N, shop_N, n_shops: torch.zeros(n_shops).index_add(0, shop_N, spent_N),
        lambda spent_N, shop_N, n_shops: (F.one_hot(shop_N, n_shops) * spent_N[:, None]).sum(0),
        lambda spent_N, shop_N, n_shops: [spent_N[shop_N == s].sum().item() for s in range(n_shops)],
    ],
    "05.p_left": [
        lambda money_N, price_M: money_N.unsqueeze(1) - price_M.unsqueeze(0),
        lambda money_N, price_M: [[money - price for price in price_M] for money in money_N],
        lambda money_N, price_M: -(price_M - money_N.view(-1, 1)),
    ],
    "05.p_larger": [
        lambda x_N: (x_N - x_N[:, None]) < 0,
        lambda x_N: [[bool(a > b) for b in x_N] for a in x_N],
    ],
    "06.p_podium": [
        lambda points_NM, k: points_NM.sort(dim=0, descending=True).values[:k].mean(0),
        lambda points_NM, k: points_NM.T.topk(k).values.mean(1),
    ],
    "06.p_marked": [
        lambda ids_NK, n_columns: F.one_hot(ids_NK, n_columns).sum(1),
        lambda ids_NK, n_columns: (ids_NK[..., None] == torch.arange(n_columns)).any(1),
        lambda ids_NK, n_columns: [[int(c in row) for c in range(n_columns)] for row in ids_NK.tolist()],
    ],
    "06.p_teams": [
        lambda score_NM, size: torch.stack([team.amax(1) for team in score_NM.split(size, dim=1)], dim=1),
        lambda score_NM, size: F.max_pool1d(score_NM, size),
        lambda score_NM, size: score_NM.reshape(len(score_NM), -1, size).max(-1).values,
    ],
    "06.p_bonus": [
        lambda pay_NM, bonus_NG: (pay_NM.unflatten(1, (bonus_NG.shape[1], -1)) + bonus_NG[..., None]).flatten(
            1
        ),
        lambda pay_NM, bonus_NG: (
            pay_NM + bonus_NG[:, torch.arange(pay_NM.shape[1]) * bonus_NG.shape[1] // pay_NM.shape[1]]
        ),
    ],
    "07.p_before": [
        lambda arrivals_N: F.pad(arrivals_N.cumsum(0)[:-1], (1, 0)),
        lambda arrivals_N: [sum(arrivals_N[:t].tolist()) for t in range(len(arrivals_N))],
        lambda arrivals_N: torch.ones(len(arrivals_N), len(arrivals_N)).tril(-1) @ arrivals_N.float(),
    ],
    "07.p_one": [
        lambda table_NM, column_N: table_NM.gather(1, column_N.unsqueeze(1)).squeeze(1),
        lambda table_NM, column_N: [row[c] for row, c in zip(table_NM, column_N, strict=True)],
    ],
    "07.p_seated": [
        _seated_by_index,
        lambda ticket_N, row_N, seat_N, n_rows, n_seats: (
            torch.zeros(n_rows * n_seats).scatter(0, row_N * n_seats + seat_N, ticket_N).view(n_rows, n_seats)
        ),
    ],
    "08.p_dear": [
        lambda price_N: (-price_N).argsort(stable=True),
        lambda price_N: sorted(range(len(price_N)), key=lambda i: -price_N[i]),
    ],
    "08.p_chapter": [
        lambda ends_E, pages_N: (pages_N[:, None] >= ends_E).sum(1),
        lambda ends_E, pages_N: torch.bucketize(pages_N, ends_E, right=True),
    ],
    "08.p_delivered": [
        _delivered_by_index,
        lambda weight_N, door_N: weight_N[door_N.argsort()],
        lambda weight_N, door_N: torch.zeros(len(weight_N)).index_put((door_N,), weight_N),
    ],
    "09.p_inside": [
        lambda memory_N, places_B: torch.cat([memory_N, torch.zeros(1)])[places_B.clamp(max=len(memory_N))],
        lambda memory_N, places_B: [memory_N[p] if p < len(memory_N) else 0 for p in places_B],
    ],
    "09.p_boxes": [
        lambda pieces_E, size: -(-pieces_E // size),
        lambda pieces_E, size: torch.ceil(pieces_E / size),
        lambda pieces_E, size: pieces_E // size + (pieces_E % size > 0),
    ],
    "09.p_place": [
        lambda e_N, row_N, column_N, n_rows, n_columns: (
            e_N * n_rows * n_columns + row_N * n_columns + column_N
        ),
        lambda e_N, row_N, column_N, n_rows, n_columns: torch.arange(
            (int(e_N.max()) + 1) * n_rows * n_columns
        ).view(-1, n_rows, n_columns)[e_N, row_N, column_N],
    ],
    "09.p_outer": [
        lambda a_ND, b_NF: torch.einsum("nd,nf->df", a_ND, b_NF),
        lambda a_ND, b_NF: sum(torch.outer(a, b) for a, b in zip(a_ND, b_NF, strict=True)),
    ],
    "10.p_look": [
        _may_look_by_rule,
        lambda n, width: (
            (torch.arange(n)[:, None] - torch.arange(n)).clamp(min=-1).add(1).clamp(max=width + 1)
            % (width + 1)
            > 0
        ),
    ],
    "10.p_next": [
        lambda letters_L, guesses_L: (guesses_L == letters_L.roll(-1))[:-1].double().mean(),
        lambda letters_L, guesses_L: float((letters_L[1:] == guesses_L[:-1]).sum()) / (len(letters_L) - 1),
    ],
    "11.p_bill": [
        lambda slip_M: torch.mul(*slip_M.chunk(2)),
        lambda slip_M: slip_M.view(2, -1).prod(0),
        lambda slip_M: [float(p * n) for p, n in zip(*slip_M.split(len(slip_M) // 2), strict=True)],
    ],
    "11.p_shelf": [
        lambda price_NM, shelf_N, size: torch.stack(
            [row[s * size : (s + 1) * size] for row, s in zip(price_NM, shelf_N, strict=True)]
        ),
        lambda price_NM, shelf_N, size: price_NM.gather(1, shelf_N[:, None] * size + torch.arange(size)),
    ],
    "12.p_common": [
        lambda likes_NM: torch.einsum("im,jm->ij", likes_NM, likes_NM).int(),
        lambda likes_NM: (likes_NM[:, None] * likes_NM[None]).sum(-1),
        lambda likes_NM: [[int((a * b).sum()) for b in likes_NM] for a in likes_NM],
    ],
    "12.p_kinds": [
        lambda colour_N, number_N: torch.stack([colour_N, number_N]).unique(dim=1).shape[1],
        lambda colour_N, number_N: len((colour_N * 100 + number_N).unique()),
    ],
    "13.p_choir": [
        lambda pitch_P, size, rows: torch.cat([pitch_P.repeat_interleave(size)] * rows),
        lambda pitch_P, size, rows: pitch_P[None, :, None].expand(rows, -1, size).flatten(),
        lambda pitch_P, size, rows: [p for _ in range(rows) for p in pitch_P for _ in range(size)],
    ],
    "13.p_partners": [
        lambda age_N, partner_N: torch.zeros_like(age_N).scatter(0, partner_N, age_N),
        lambda age_N, partner_N: [age_N[partner_N.tolist().index(j)] for j in range(len(age_N))],
    ],
    "14.p_days": [
        lambda visit_N, visits_D: torch.stack([d.max() for d in torch.split(visit_N, visits_D.tolist())]),
        lambda visit_N, visits_D: [
            max(visit_N.tolist()[end - n : end])
            for n, end in zip(visits_D.tolist(), visits_D.cumsum(0).tolist(), strict=True)
        ],
    ],
    "14.p_seats": [
        lambda price_N, width: price_N.reshape(-1, width).min(0).values,
        lambda price_N, width: torch.stack([price_N[seat::width].min() for seat in range(width)]),
        lambda price_N, width: [min(price_N.tolist()[seat::width]) for seat in range(width)],
    ],
    "15.p_parcels": [
        lambda value_RM, size: value_RM.view(len(value_RM), -1, size).sum(-1),
        lambda value_RM, size: torch.stack([part.sum(1) for part in value_RM.split(size, dim=1)], dim=1),
        lambda value_RM, size: [[sum(p) for p in row.view(-1, size).tolist()] for row in value_RM],
    ],
    "15.p_streak": [
        lambda won_GN: torch.cat([won_GN, torch.zeros_like(won_GN[:, :1])], dim=1).argmin(1),
        lambda won_GN: [([*row.tolist(), 0]).index(0) for row in won_GN],
    ],
    "16.p_seat": [
        lambda seat_N, width: torch.div(seat_N, width, rounding_mode="floor") + seat_N.remainder(width),
        lambda seat_N, width: [sum(divmod(int(seat), width)) for seat in seat_N],
        lambda seat_N, width: seat_N - (width - 1) * (seat_N // width),
    ],
    "16.p_interest": [
        lambda rate_L, start: torch.exp(rate_L.cumsum(0)[-1] - rate_L.cumsum(0)[start]),
        lambda rate_L, start: rate_L.exp()[start + 1 :].prod(),
        lambda rate_L, start: float(np.exp(sum(rate_L[start + 1 :].tolist()))),
    ],
    "17.p_place": [
        lambda height, dry: torch.tensor(
            divmod(height.masked_fill(dry == 0, 10**6).argmin().item(), height.shape[1])
        ),
        lambda height, dry: torch.stack(
            torch.unravel_index(height.masked_fill(dry == 0, float("inf")).argmin(), height.shape)
        ),
        lambda height, dry: min(
            ([r, c] for r in range(len(dry)) for c in range(dry.shape[1]) if dry[r, c]),
            key=lambda at: int(height[at[0], at[1]]),
        ),
    ],
    "17.p_flat": [
        lambda rent, size, minutes, most, far: size.masked_fill(
            (rent > most) | (minutes > far), -torch.inf
        ).max(),
        lambda rent, size, minutes, most, far: max(
            s
            for r, s, m in zip(rent.tolist(), size.tolist(), minutes.tolist(), strict=True)
            if r <= most and m <= far
        ),
        lambda rent, size, minutes, most, far: (size * (rent <= most) * (minutes <= far)).max().item(),
    ],
}


def _written_once(rows_ND, owner_N, n_owners):
    totals = torch.zeros(n_owners, rows_ND.shape[1])
    totals[owner_N] = rows_ND
    return totals


def _table_of_all(values_NK, ids_NK, n_columns):
    table = torch.zeros(ids_NK.shape[0], n_columns)
    table[:, ids_NK] = values_NK
    return table


def _all_seats(ticket_N, row_N, seat_N, n_rows, n_seats):
    hall = torch.zeros(n_rows, n_seats)
    for row in row_N:
        hall[row, seat_N] = ticket_N
    return hall


WRONG = {
    "01.p_centred": {
        "along the columns": lambda x: x - x.sum(1) / x.shape[1],
        "of the columns": lambda x: x - x.mean(0, keepdim=True),
    },
    "01.p_picked": {
        "whole rows": lambda table, ids: table[ids, :],
        "every row": lambda table, ids: torch.stack([row[ids] for row in table]),
        "down the columns": lambda table, ids: torch.gather(table, 0, ids),
    },
    "02.p_inverse": {
        "not inverted": lambda order: order[torch.arange(len(order))],
        "read backwards": lambda order: order.tolist()[::-1],
    },
    "02.p_totals": {
        "the last one stays": _written_once,
        "owners missing": lambda rows, owner, n: F.one_hot(owner).T.float() @ rows,
    },
    "02.p_repeated": {
        "closed up": lambda counts: torch.arange(len(counts[counts > 0])).repeat_interleave(
            counts[counts > 0]
        ),
        "the counts": lambda counts: [n for n in counts.tolist() for _ in range(n)],
    },
    "02.p_products": {
        "all pairs": lambda a, b: torch.einsum("nd,md->nm", a, b),
        "down the columns": lambda a, b: torch.einsum("nd,nd->d", a, b),
    },
    "02.p_placed": {
        "down the columns": lambda values, ids, n: torch.zeros(ids.shape[0], n).scatter_(0, ids, values),
        "every row": _table_of_all,
    },
    "04.p_present": {
        "zeros that count": lambda x, present: torch.where(present[:, None], x, 0).mean(0),
        "padding takes part": lambda x, present: x.sum(0) / len(x),
    },
    "04.p_takings": {
        "last shops missing": lambda spent, shop, n: (F.one_hot(shop) * spent[:, None]).sum(0),
        "customers": lambda spent, shop, n: F.one_hot(shop, n).sum(0),
    },
    "05.p_left": {
        "one to one": lambda money, price: -price + money,
        "rows and columns": lambda money, price: (money[:, None] - price).T,
    },
    "05.p_larger": {
        "rows and columns": lambda x: x[:, None] < x,
        "or equal": lambda x: ~(x[:, None] < x),
    },
    "06.p_podium": {
        "each athlete": lambda points, k: points.topk(k, dim=1)[0].mean(1),
        "one number": lambda points, k: points.sort(0).values[-k:].mean(),
    },
    "06.p_marked": {
        "a page for each id": lambda ids, n: (ids[..., None] == torch.arange(n)).float(),
        "summed over the rows": lambda ids, n: (ids[..., None] == torch.arange(n)).float().sum(0),
        "columns missing": lambda ids, n: torch.zeros(len(ids), int(ids.max()) + 1).scatter(1, ids, 1),
    },
    "06.p_teams": {
        "every other one": lambda score, size: torch.stack(
            [score[:, i :: score.shape[1] // size].amax(1) for i in range(score.shape[1] // size)], dim=1
        ),
        "the team of the number": lambda score, size: torch.stack(
            [score[:, i::size].amax(1) for i in range(size)], dim=1
        ),
    },
    "06.p_bonus": {
        "dealt in turn": lambda pay, bonus: (
            pay + torch.cat([bonus] * (pay.shape[1] // bonus.shape[1]), dim=1)
        ),
        "one to one": lambda pay, bonus: bonus + pay,
    },
    "07.p_before": {
        "with their own minute": lambda arrivals: torch.cumsum(arrivals, 0),
        "round the end": lambda arrivals: np.roll(np.cumsum(arrivals.numpy()), 1),
    },
    "07.p_one": {
        "every pair": lambda table, column: table.index_select(1, column),
        "an axis too many": lambda table, column: torch.take_along_dim(table, column.unsqueeze(1), 1),
    },
    "07.p_seated": {
        "rows and seats": lambda ticket, row, seat, n_rows, n_seats: torch.zeros(n_rows, n_seats).index_put_(
            (seat, row), ticket
        ),
        "every pair": _all_seats,
    },
    "08.p_dear": {
        "turned round": lambda price: torch.flip(price.argsort(stable=True), (0,)),
        "rising": lambda price: sorted(range(len(price)), key=lambda i: price[i]),
    },
    "08.p_chapter": {
        "the end belongs to it": lambda ends, pages: (pages[:, None] > ends).sum(1),
        "ends for beginnings": lambda ends, pages: (pages[:, None] >= ends).sum(1) - 1,
    },
    "08.p_delivered": {
        "read, not written": lambda weight, door: [weight[d] for d in door],
        "who, not what": lambda weight, door: [door.tolist().index(d) for d in range(len(door))],
    },
    "09.p_inside": {
        "outside": lambda memory, places: memory[places] * (places < len(memory)),
        "the last one again": lambda memory, places: memory[
            torch.minimum(places, torch.tensor(len(memory) - 1))
        ],
    },
    "09.p_boxes": {
        "full boxes only": lambda pieces, size: torch.div(pieces, size, rounding_mode="floor"),
        "always one more": lambda pieces, size: 1 + pieces // size,
    },
    "09.p_place": {
        "a matrix is its rows": lambda e, row, column, n_rows, n_columns: (
            n_rows * e + n_columns * row + column
        ),
        "rows and columns": lambda e, row, column, n_rows, n_columns: (
            e * n_columns * n_rows + row * n_rows + column
        ),
    },
    "09.p_outer": {
        "rows with rows": lambda a, b: torch.einsum("nd,md->nm", a, b),
        "not added up": lambda a, b: torch.stack([torch.outer(x, y) for x, y in zip(a, b, strict=True)]),
        "turned over": lambda a, b: (a.T @ b).T,
    },
    "10.p_look": {
        "all that came before": lambda n, width: torch.arange(n)[:, None] >= torch.arange(n),
        "ahead": lambda n, width: torch.tensor(_may_look_by_rule(n, width)).T,
        "one too far": lambda n, width: _may_look_by_rule(n, width + 1),
    },
    "10.p_next": {
        "not shifted": lambda letters, guesses: (letters == guesses).double().mean(),
        "shifted the wrong way": lambda letters, guesses: (letters[:-1] == guesses[1:]).float().mean().item(),
        "divided by all": lambda letters, guesses: float((guesses[:-1] == letters[1:]).sum()) / len(guesses),
    },
    "11.p_bill": {
        "neighbours": lambda slip: slip.view(-1, 2).prod(1),
        "one sum": lambda slip: slip.view(2, -1).prod(0).sum(),
    },
    "11.p_shelf": {
        "dealt in turn": lambda price, shelf, size: torch.stack(
            [row[s :: price.shape[1] // size] for row, s in zip(price, shelf, strict=True)]
        ),
        "the first shelf": lambda price, shelf, size: price.split(size, dim=1)[0],
    },
    "12.p_common": {
        "songs with songs": lambda likes: torch.einsum("nm,nk->mk", likes, likes),
        "either of them": lambda likes: [[int(((a + b) > 0).sum()) for b in likes] for a in likes],
        "the same opinion": lambda likes: torch.stack([(likes == row).sum(1) for row in likes]),
    },
    "12.p_kinds": {
        "kinds multiplied": lambda colour, number: colour.unique().numel() * number.unique().numel(),
        "sums": lambda colour, number: len(set((colour + number).tolist())),
        "numbers alone": lambda colour, number: len(set(number.tolist())),
        "all of them": lambda colour, number: number.numel(),
    },
    "13.p_choir": {
        "voices in turn": lambda pitch, size, rows: torch.cat([pitch] * (rows * size)),
        "one long row": lambda pitch, size, rows: [p for p in pitch for _ in range(size * rows)],
        "size and rows exchanged": lambda pitch, size, rows: [
            p for _ in range(size) for p in pitch for _ in range(rows)
        ],
    },
    "13.p_partners": {
        "the other way": lambda age, partner: torch.stack([age[p] for p in partner]),
        "nobody moved": lambda age, partner: age,
        "sorted ages": lambda age, partner: age.sort(descending=True)[0],
        "who, not how old": lambda age, partner: [partner.tolist().index(j) for j in range(len(age))],
        "partners by age": lambda age, partner: partner.gather(0, age.sort().indices),
    },
    "14.p_days": {
        "equal days": lambda visit, visits: [int(d.max()) for d in visit.chunk(len(visits))],
        "added up": lambda visit, visits: torch.stack([d.sum() for d in visit.split(visits.tolist())]),
        "first of the day": lambda visit, visits: visit[visits.cumsum(0) - visits],
    },
    "14.p_seats": {
        "each row": lambda price, width: price.reshape(-1, width).min(1).values,
        "rows and columns exchanged": lambda price, width: price.reshape(width, -1).min(1).values,
    },
    "15.p_parcels": {
        "dealt in turn": lambda value, size: [
            [row[g :: len(row) // size].sum().item() for g in range(len(row) // size)] for row in value
        ],
        "the wrong axis": lambda value, size: value.view(len(value), -1, size).sum(1),
    },
    "15.p_streak": {
        "all wins": lambda won: (won == 1).sum(1),
        "the first loss, always": lambda won: won.min(dim=1).indices,
    },
    "16.p_seat": {
        "one number": lambda seat, width: seat // width * width + seat % width,
        "the row alone": lambda seat, width: [int(s) // width for s in seat],
        "the place alone": lambda seat, width: torch.remainder(seat, width),
    },
    "16.p_interest": {
        "its own month": lambda rate, start: rate.exp()[start:].prod(),
        "since the beginning": lambda rate, start: rate.cumsum(0)[-1].exp(),
        "a sum of factors": lambda rate, start: sum(r.exp() for r in rate[start + 1 :]),
    },
    "17.p_place": {
        "wet or dry": lambda height, dry: torch.tensor(divmod(int(height.argmin()), height.shape[1])),
        "column first": lambda height, dry: torch.tensor(
            divmod(int(height.masked_fill(dry == 0, 99).argmin()), height.shape[1])[::-1]
        ),
        "wet taken as ground": lambda height, dry: divmod(int((height * dry).argmin()), height.shape[1]),
        "the highest": lambda height, dry: divmod(int((height * dry).argmax()), height.shape[1]),
        "the lowest wet": lambda height, dry: torch.stack(
            torch.unravel_index(height.masked_fill(dry.bool(), float("inf")).argmin(), height.shape)
        ),
        "counted through": lambda height, dry: int((height + 1000 * (dry == 0)).argmin()),
        "counted among the dry": lambda height, dry: torch.stack(
            torch.unravel_index(height[dry == 1].argmin(), height.shape)
        ),
        "by the rows": lambda height, dry: [
            f(int(torch.where(dry == 1, height, float("inf")).argmin()), len(height))
            for f in (int.__floordiv__, int.__mod__)
        ],
    },
    "17.p_flat": {
        "either": lambda rent, size, minutes, most, far: torch.where(
            (rent <= most) + (minutes <= far), size, 0
        ).max(),
        "rent alone": lambda rent, size, minutes, most, far: max(
            s for r, s in zip(rent.tolist(), size.tolist(), strict=True) if r <= most
        ),
        "its rent": lambda rent, size, minutes, most, far: rent[
            size.masked_fill((rent > most) | (minutes > far), 0).argmax()
        ],
        "the smallest": lambda rent, size, minutes, most, far: (
            size[torch.logical_and(rent <= most, minutes <= far)].sort().values[0]
        ),
        "minutes alone": lambda rent, size, minutes, most, far: (size * (minutes <= far)).max(),
        "each limit by itself": lambda rent, size, minutes, most, far: min(
            (size * (rent <= most)).max(), (size * (minutes <= far)).max()
        ),
        "limits exchanged": lambda rent, size, minutes, most, far: torch.where(
            (rent <= far) & (minutes <= most), size, 0
        ).max(),
        "the cheapest": lambda rent, size, minutes, most, far: min(
            (r, s)
            for r, s, m in zip(rent.tolist(), size.tolist(), minutes.tolist(), strict=True)
            if r <= most and m <= far
        )[1],
        "place among those that fit": lambda rent, size, minutes, most, far: (
            size[(rent <= most) & (minutes <= far)].sort(descending=True).indices[0]
        ),
        "place in the list": lambda rent, size, minutes, most, far: int(
            size.masked_fill((rent > most) | (minutes > far), 0).argmax()
        ),
        "largest first": lambda rent, size, minutes, most, far: (
            size.max() if rent[size.argmax()] <= most and minutes[size.argmax()] <= far else 0
        ),
    },
}
