"""Answers to 15.quantise as learners write them: wrong ones by mistake, right ones."""

import numpy as np
import torch


def by_views(weight_FD, bits, group):
    top = 2 ** (bits - 1) - 1
    x = weight_FD.view(len(weight_FD), -1, group)
    scale = x.abs().max(dim=2).values / top
    codes = torch.round(x / torch.where(scale == 0, 1.0, scale)[:, :, None])
    return codes.reshape(weight_FD.shape).long(), scale, (codes * scale[:, :, None]).reshape(weight_FD.shape)


def by_loops(weight_FD, bits, group):
    top = 2 ** (bits - 1) - 1
    F, D = weight_FD.shape
    codes = torch.zeros(F, D, dtype=torch.int64)
    scales = torch.zeros(F, D // group)
    back = torch.zeros_like(weight_FD)
    for f in range(F):
        for g in range(D // group):
            part = slice(g * group, (g + 1) * group)
            largest = weight_FD[f, part].abs().max()
            if largest == 0:
                continue
            scales[f, g] = largest / top
            codes[f, part] = torch.round(weight_FD[f, part] * top / largest).long()
            back[f, part] = codes[f, part] * scales[f, g]
    return codes, scales, back


def by_repeats(weight_FD, bits, group):
    top = 2 ** (bits - 1) - 1
    scales = weight_FD.abs().unflatten(1, (-1, group)).amax(-1) / top
    wide = scales.repeat_interleave(group, dim=1)
    codes = (weight_FD / wide).nan_to_num(0).round()
    return codes.to(torch.int64), scales, codes * wide


def by_numpy(weight_FD, bits, group):
    w = weight_FD.numpy().astype(np.float64)
    top = 2 ** (bits - 1) - 1
    x = w.reshape(len(w), -1, group)
    s = np.abs(x).max(-1) / top
    codes = np.rint(x / np.maximum(s, 1e-30)[..., None])
    back = codes * s[..., None]
    return (
        torch.from_numpy(codes.reshape(w.shape).astype(np.int64)),
        torch.from_numpy(s.astype(np.float32)),
        torch.from_numpy(back.reshape(w.shape).astype(np.float32)),
    )


def from_scales(weight_FD, bits, group, scales, rounding=torch.round, limit=True):
    wide = scales.repeat_interleave(group, dim=1)
    codes = rounding(weight_FD / torch.where(wide > 0, wide, torch.ones_like(wide)))
    if limit:
        codes = codes.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return codes.long(), scales, codes * wide


def largest(weight_FD, group):
    return weight_FD.abs().unflatten(1, (-1, group)).amax(-1)


def tensor_scale(w, bits, group):
    scales = torch.full((w.shape[0], w.shape[1] // group), (w.abs().max() / (2 ** (bits - 1) - 1)).item())
    return from_scales(w, bits, group, scales)


def row_scale(w, bits, group):
    rows = w.abs().max(dim=1, keepdim=True).values / (2 ** (bits - 1) - 1)
    return from_scales(w, bits, group, rows.repeat(1, w.shape[1] // group))


def columns(w, bits, group):
    top = 2 ** (bits - 1) - 1
    s = w.abs().max(dim=0).values / top
    codes = (w / s).round()
    return codes.long(), largest(w, group) / top, codes * s


def dealt(w, bits, group):
    n = w.shape[1] // group
    codes, back, scales = torch.zeros_like(w), torch.zeros_like(w), torch.zeros(len(w), n)
    for g in range(n):
        c, s, b = by_views(w[:, g::n].contiguous(), bits, group)
        codes[:, g::n], scales[:, g], back[:, g::n] = c.float(), s[:, 0], b
    return codes.long(), scales, back


def chunks(w, bits, group):
    parts = [by_views(part.contiguous(), bits, part.shape[1]) for part in w.chunk(group, dim=1)]
    return tuple(torch.cat([p[i] for p in parts], dim=1) for i in range(3))


def truncated(w, bits, group):
    return from_scales(w, bits, group, largest(w, group) / (2 ** (bits - 1) - 1), torch.trunc)


def with_all_bits(w, bits, group):
    return from_scales(w, bits, group, largest(w, group) / (2**bits - 1))


def with_128(w, bits, group):
    return from_scales(w, bits, group, largest(w, group) / 2 ** (bits - 1))


def with_fewer(w, bits, group):
    return from_scales(w, bits, group, largest(w, group) / (2 ** (bits - 1) - 2))


def by_maximum(w, bits, group):
    return from_scales(w, bits, group, w.unflatten(1, (-1, group)).amax(-1) / (2 ** (bits - 1) - 1))


def by_mean(w, bits, group):
    return from_scales(w, bits, group, w.unflatten(1, (-1, group)).abs().mean(-1) / (2 ** (bits - 1) - 1))


def zero_point(w, bits, group):
    x = w.unflatten(1, (-1, group))
    low, high = x.min(-1, keepdim=True).values, x.max(-1, keepdim=True).values
    s = (high - low) / (2**bits - 1)
    q = torch.round((x - low) / torch.where(s == 0, 1.0, s))
    return q.flatten(1).long(), s[..., 0], (q * s + low).flatten(1)


def codes_as_weights(w, bits, group):
    codes, scales, _ = by_views(w, bits, group)
    return codes, scales, codes.float()


def original(w, bits, group):
    codes, scales, _ = by_repeats(w, bits, group)
    return codes, scales, w.clone()


def inverse(w, bits, group):
    codes, scales, back = by_views(w, bits, group)
    return codes, 1 / scales, back


def magnitudes(w, bits, group):
    codes, _, back = by_views(w, bits, group)
    return codes, largest(w, group), back


def unsigned(w, bits, group):
    codes, scales, back = by_views(w, bits, group)
    return codes + 2 ** (bits - 1), scales, back


def no_sign(w, bits, group):
    return by_views(w.abs(), bits, group)


def divides_by_zero(w, bits, group):
    top = 2 ** (bits - 1) - 1
    x = w.unflatten(1, (-1, group))
    s = x.abs().amax(-1, keepdim=True) / top
    codes = (x / s).round()
    return codes.flatten(1).nan_to_num(0).long(), s[..., 0], (codes * s).flatten(1)


def guarded(w, bits, group):
    top = 2 ** (bits - 1) - 1
    x = w.unflatten(1, (-1, group))
    m = x.abs().amax(-1, keepdim=True)
    s = torch.where(m == 0, torch.ones_like(m), m / top)
    codes = (x / s).round()
    return codes.flatten(1).long(), s[..., 0], (codes * s).flatten(1)


def half_range(w, bits, group):
    x = w.unflatten(1, (-1, group))
    return from_scales(w, bits, group, (x.amax(-1) - x.amin(-1)) / (2**bits - 2))


def int8_always(w, bits, group):
    return from_scales(w, 8, group, largest(w, group) / 127)


WRONG = {
    "bits_ignored": int8_always,
    "half_the_range": half_range,
    "one_scale_per_tensor": tensor_scale,
    "one_scale_per_row": row_scale,
    "groups_along_outputs": columns,
    "dealt_in_turn": dealt,
    "group_for_count": chunks,
    "rounded_down": truncated,
    "all_bits_for_the_size": with_all_bits,
    "top_one_too_large": with_128,
    "one_code_less": with_fewer,
    "largest_value_not_magnitude": by_maximum,
    "average_for_largest": by_mean,
    "asymmetric": zero_point,
    "codes_returned_as_weights": codes_as_weights,
    "weights_untouched": original,
    "scale_upside_down": inverse,
    "magnitudes_for_scales": magnitudes,
    "codes_from_zero": unsigned,
    "sign_lost": no_sign,
    "zero_group_is_nan": divides_by_zero,
    "zero_group_has_a_scale": guarded,
}

RIGHT = [by_views, by_loops, by_repeats, by_numpy]
