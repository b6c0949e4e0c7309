"""Puzzles of lesson 13: two kinds of repetition, and a partner's index read backwards."""

from moe_lessons.exercises.puzzle import Puzzle, Slip

PUZZLES = (
    Puzzle(
        id="13.p_choir",
        question="A choir stands in `rows` rows. In each row the voices stand in the order of `pitch_P`, "
        "with `size` singers of the same voice side by side. Return every singer's pitch, row after row.",
        entry="voices_in_order",
        inputs=(
            {"pitch_P": [1.0, 3.0, 2.0], "size": 2, "rows": 3},
            {"pitch_P": [5.0, 4.0], "size": 3, "rows": 2},
        ),
        solution=lambda pitch_P, size, rows: pitch_P.repeat_interleave(size).repeat(rows),
        slips=(
            Slip(
                "voices in turn",
                "this has the voices in turn. Those who sing the same stand side by side",
                lambda pitch, size, rows: pitch.repeat(size * rows),
            ),
            Slip(
                "one long row",
                "this is one long row, with all singers of a voice in it. The order begins anew in each row",
                lambda pitch, size, rows: pitch.repeat_interleave(size * rows),
            ),
            Slip(
                "size and rows exchanged",
                "here `rows` singers stand side by side, in `size` rows",
                lambda pitch, size, rows: pitch.repeat_interleave(rows).repeat(size),
            ),
        ),
        before="13.upcycle",
    ),
    Puzzle(
        id="13.p_partners",
        question="Person i on the left dances with person `partner_N[i]` on the right. `age_N` are the ages "
        "of those on the *left*. Return, for each person on the right, in order, the age of their partner.",
        entry="age_beside",
        inputs=(
            {"age_N": [20.0, 30.0, 40.0, 50.0], "partner_N": [1, 2, 0, 3]},
            {"age_N": [18.0, 25.0, 60.0, 33.0], "partner_N": [2, 3, 1, 0]},
        ),
        solution=lambda age_N, partner_N: age_N[partner_N.argsort()],
        slips=(
            Slip(
                "the other way",
                "this asks the left for their partners' ages. It is the right who want to know",
                lambda age, partner: age[partner],
            ),
            Slip(
                "nobody moved",
                "these are the ages as they stood on the left",
                lambda age, partner: age.clone(),
            ),
            Slip(
                "sorted ages",
                "this sorts the ages. They belong to people, who stand where their partners are",
                lambda age, partner: age.sort().values.flip(0),
            ),
            Slip(
                "who, not how old",
                "this says who the partners are. Wanted are their ages",
                lambda age, partner: partner.argsort(),
            ),
            Slip(
                "partners by age",
                "these are the partners' numbers, in the order of age. It is the partners who are to be put "
                "in order, and the ages that are to be looked up",
                lambda age, partner: partner[age.argsort()],
            ),
        ),
        before="13.merge",
    ),
)
