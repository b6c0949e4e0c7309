"""The mistakes of 17.serve in caches, tables and units, beside those in experts and steps."""

from moe_lessons.exercises.capstone.serving_slips import EXPERTS, STEP, Slip

SIZES = (
    Slip(
        "cache_forgotten",
        1,
        "The cache is neither held nor read. With long texts and many users it is the larger part.",
        ({"cached": lambda each, users, tokens: 0.0},),
    ),
    Slip(
        "cache_of_one",
        1,
        "The cache is that of one user, held or read. Each has one: multiply by the batch.",
        (
            {"cached": lambda each, users, tokens: each * tokens},
            {"cached_in_step": lambda each, users, tokens: each * tokens},
        ),
    ),
    Slip(
        "cache_of_one_token",
        1,
        "The cache has one token for each user, or a single one. It keeps `context` of each user, and "
        "attention reads them all.",
        (
            {"cached": lambda each, users, tokens: each * users},
            {"cached_in_step": lambda each, users, tokens: each * users},
            {"cached": lambda each, users, tokens: each},
        ),
    ),
    Slip(
        "cache_not_read",
        1,
        "The cache is held and not read. Attention looks at every token in it, in every step.",
        ({"cached_in_step": lambda each, users, tokens: 0.0},),
    ),
    Slip(
        "cache_not_held",
        1,
        "The cache is read and not held. It takes its room beside the weights.",
        (
            {
                "cached": lambda each, users, tokens: 0.0,
                "cached_in_step": lambda each, users, tokens: each * users * tokens,
            },
        ),
    ),
    Slip(
        "cache_twice",
        1,
        "The cache is counted twice. `cache_per_token` has keys and values in it.",
        (
            {"cached": lambda each, users, tokens: 2 * each * users * tokens},
            {"cached_in_step": lambda each, users, tokens: 2 * each * users * tokens},
        ),
    ),
    Slip(
        "cache_in_few_bits",
        2,
        "The cache was scaled as the weights are, by their bits or from bits to bytes. `cache_per_token` is "
        "in bytes already.",
        (
            {"cache_factor": lambda bits: bits / 8},
            {"cache_factor": lambda bits: bits / 16},
            {"cache_factor": lambda bits: 1 / 8},
            {"cache_factor": lambda bits: bits},
        ),
    ),
    Slip(
        "parameters_as_bytes",
        2,
        "Parameters are taken as bytes, all of them or some: look where the product with `bits / 8` begins "
        "and ends. A parameter has `bits` bits, eight to a byte.",
        (
            {"weight_bytes": lambda bits: 1},
            {"rest_bytes": lambda bits: 1},
            {"read_bytes": lambda bits: 1},
            {"weight_bytes": lambda bits: 1, "read_bytes": lambda bits: bits / 8},
        ),
    ),
    Slip(
        "bits_as_bytes",
        2,
        "The bits were not divided by eight.",
        (
            {"weight_bytes": lambda bits: bits},
            {"read_bytes": lambda bits: bits},
            {"weight_bytes": lambda bits: bits, "read_bytes": lambda bits: bits / 8},
        ),
    ),
    Slip(
        "two_bytes_each",
        2,
        "Every parameter takes two bytes here. It has `bits` bits, eight to a byte.",
        ({"weight_bytes": lambda bits: 2},),
    ),
    Slip(
        "no_half_bytes",
        2,
        "The bits were made whole bytes. 4 bits are half of one: a parameter takes `bits / 8`, with `/` and "
        "not with `//`.",
        (
            {"weight_bytes": lambda bits: bits // 8},
            {"weight_bytes": lambda bits: max(1, bits // 8)},
        ),
    ),
    Slip(
        "one_operation",
        3,
        "A weight is counted as one operation, or some of them are: look what the 2 multiplies. Each is "
        "multiplied and added.",
        (
            {"operations": lambda bits: 1},
            {"operations": lambda bits: 1, "shared_in": (1, 1, 2)},
            {"shared_in": (1, 1, 0.5)},
        ),
    ),
    Slip(
        "training_operations",
        3,
        "Six operations are for training, forwards and backwards. A step of decoding needs two.",
        ({"operations": lambda bits: 6},),
    ),
    Slip(
        "bytes_multiplied",
        3,
        "Operations are counted from bytes. A parameter is multiplied and added, two operations, in however "
        "few bits it is kept.",
        ({"operations": lambda bits: 2 * bits / 8}, {"operations": lambda bits: bits / 8}),
    ),
    Slip(
        "table_read",
        1,
        "The whole embedding table is read. A token reads its own row, which is nothing beside the rest.",
        ({"table_in": (1, 1, 0)}, {"table_in": (1, 1, 1)}, {"table_in": (0, 1, 0)}),
    ),
    Slip(
        "table_multiplied",
        3,
        "A token is multiplied by the embedding table. It looks up one row there, which counts for nothing.",
        ({"table_in": (1, 0, 1)},),
    ),
    Slip(
        "table_not_held",
        1,
        "The embedding table is missing from what is held. Hardly any of it is read in a step, and all "
        "of it must be there.",
        ({"table_in": (0, 0, 0)},),
    ),
    Slip(
        "table_twice",
        1,
        "The table is held twice. The head, which is as large, is among the `shared` parameters already.",
        ({"table_in": (2, 0, 0)}, {"table_in": (2, 1, 0)}),
    ),
    Slip(
        "table_among_the_shared",
        1,
        "The table is taken off the `shared` parameters. Here it is not among them: it is held besides.",
        (
            {"table_in": (0, -1, -1)},
            {"table_in": (1, -1, -1)},
            {"table_in": (0, -1, 0)},
            {"table_in": (1, 0, -1)},
            {"table_in": (1, -1, 0)},
        ),
    ),
    Slip(
        "shared_forgotten",
        1,
        "The shared parameters are missing somewhere. They are held, every step reads them, and every token "
        "passes them, beside its experts.",
        (
            {"shared_in": (0, 0, 0)},
            {"shared_in": (0, 1, 1)},
            {"shared_in": (1, 0, 1)},
            {"shared_in": (1, 1, 0)},
            {"shared_in": (1, 0, 0)},
        ),
    ),
    Slip(
        "other_unit",
        2,
        "The memory, the time or both are in another unit. Bytes and seconds are asked for: no GB or GiB, no "
        "ms.",
        (
            {"units": (1e-9, 1)},
            {"units": (1, 1e3)},
            {"units": (1e-9, 1e3)},
            {"units": (2.0**-30, 1)},
            {"units": (2.0**-30, 1e3)},
            {"units": (1e-6, 1)},
            {"units": (1, 1e6)},
        ),
    ),
    Slip(
        "time_of_a_user",
        3,
        "The time of the step was divided by the users, or multiplied by them. All of them wait for the same "
        "step: its time is asked for.",
        ({"waits": lambda users: 1 / users}, {"waits": lambda users: users}),
    ),
)
SLIPS = (*EXPERTS, *STEP, *SIZES)
