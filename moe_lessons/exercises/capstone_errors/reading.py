"""How people misjudge a page, and what to tell them."""

from collections.abc import Callable

from moe_lessons.exercises.capstone_errors.habits_of_reading import habit
from moe_lessons.exercises.spec import Case, Misconception, Outputs


def _is(name: str) -> Callable[[Case, Outputs, Outputs], bool]:
    """Whether this habit explains what is off in a part."""
    return lambda case, got, want: habit(case, got, want) == name


READING = (
    Misconception(
        "believer",
        "Nearly everything was found right. A fluent sentence is no evidence: ask of each what one would "
        "have to count or look up, and do that for a few.",
        detects=_is("believer"),
    ),
    Misconception(
        "sceptic",
        "Nearly everything was found wrong. A sceptic is as wrong as a believer: some of these sentences "
        "hold as they stand, and to accuse them costs.",
        detects=_is("sceptic"),
    ),
    Misconception(
        "doubter",
        'Nearly everything "depends". That is safe to say and says nothing. Name what it depends on; where '
        "you cannot, the sentence is right or wrong.",
        detects=_is("doubter"),
    ),
    Misconception(
        "nobody_knows",
        "Nearly everything was declared unknown. Most of these sentences are about published papers, open "
        "weights or code, and there one can look.",
        detects=_is("nobody_knows"),
    ),
    Misconception(
        "two_verdicts",
        "What is not right was called wrong throughout. A sentence that holds for one model and not for "
        "another is not wrong, and one that nobody can check is neither.",
        detects=_is("two_verdicts"),
        hint=2,
    ),
    Misconception(
        "generous",
        "Sentences were let pass as right that are not. Right means: it holds for every case that the "
        "sentence speaks of, and one can show it.",
        detects=_is("generous"),
        hint=2,
    ),
    Misconception(
        "half_truths_are_wrong",
        "Sentences that hold for some models and not for others were called wrong. One counter-example "
        'refutes an "every" or an "always"; without such a word it shows that something is left unsaid.',
        detects=_is("half_truths_are_wrong"),
        hint=2,
    ),
    Misconception(
        "half_truths_are_right",
        "Sentences that hold for some models and not for others were let pass. One example is not enough: "
        "look for a model or a paper that says the opposite.",
        detects=_is("half_truths_are_right"),
        hint=2,
    ),
    Misconception(
        "rumours_are_wrong",
        "What nobody has confirmed was called wrong. To call it wrong you would have to know as well. No "
        "evidence is no evidence against it.",
        detects=_is("rumours_are_wrong"),
        hint=2,
    ),
    Misconception(
        "rumours_are_right",
        "What nobody has confirmed was let pass. That many pages say it does not make it a fact: whom do "
        "they name as their source?",
        detects=_is("rumours_are_right"),
        hint=2,
    ),
    Misconception(
        "rumours_depend",
        'What nobody can check was said to "depend". On what? There is one answer, and nobody outside has '
        "it.",
        detects=_is("rumours_depend"),
        hint=2,
    ),
    Misconception(
        "disputes_are_unknown",
        "Sentences that hold for some models and not for others were declared unknown. One does know: each "
        "result holds for its model, data and measure. It depends on them.",
        detects=_is("disputes_are_unknown"),
        hint=2,
    ),
    Misconception(
        "accuses",
        "Sentences that hold as they stand were called wrong. A number that surprises is no error: "
        "compute it, or look the paper up, before you accuse.",
        detects=_is("accuses"),
        hint=1,
    ),
    Misconception(
        "softens",
        'Sentences that are wrong were said to "depend". Where one number, one formula or one case refutes '
        "what a sentence says, nothing is left for it to depend on.",
        detects=_is("softens"),
        hint=1,
    ),
    Misconception(
        "not_put_right",
        "Wrong sentences were found, and nothing was put in their place. Each has a question behind it; "
        "its answer, a number or a paper's arXiv number, is the third column.",
        detects=_is("not_put_right"),
        hint=3,
    ),
    Misconception(
        "unit_off",
        "Some corrections have the right digits and are off by a power of ten. Look at the unit in which the "
        "question asks: billions, trillions, per cent, GB.",
        detects=_is("unit_off"),
        hint=3,
    ),
    Misconception(
        "paper_for_number",
        "Some corrections are arXiv numbers where the question asks for another number. A paper shows where "
        "that can be read; the number itself is wanted.",
        detects=_is("paper_for_number"),
        hint=3,
    ),
    Misconception(
        "quoted_back",
        "Some corrections are numbers of the sentence itself, or of its likely misreading. Compute what the "
        "question asks for from the sizes that it gives.",
        detects=_is("quoted_back"),
        hint=3,
    ),
    Misconception(
        "doubts_the_right",
        'Sentences that hold as they stand were said to "depend". On what? Where you can name no case in '
        "which one fails, it is right.",
        detects=_is("doubts_the_right"),
        hint=1,
    ),
    Misconception(
        "wrong_let_pass",
        "Wrong sentences were let pass as right. Take one number, one formula or one *every* of each, and "
        "see whether it holds: a case against it is enough.",
        detects=_is("wrong_let_pass"),
        hint=1,
    ),
    Misconception(
        "harsh",
        "Most of what is off was called wrong: sentences that hold, that hold sometimes, or that nobody can "
        "check. Call one wrong if you can say what is true instead.",
        detects=_is("harsh"),
        hint=2,
    ),
    Misconception(
        "vague",
        'Most of what is off was said to "depend". A sentence depends where it holds for one model and '
        "not for another, and does not say for which; name the two.",
        detects=_is("vague"),
        hint=2,
    ),
    Misconception(
        "not_looked_up",
        "What can be looked up or computed was declared unknown. Papers, open weights and code are there for "
        "all; unknown is what none of them says.",
        detects=_is("not_looked_up"),
        hint=2,
    ),
    Misconception(
        "all_directions",
        "The verdicts are off in several directions, and no single habit explains them. Begin with the "
        "sentences that have a number in them: those can be settled one by one.",
        detects=_is("all_directions"),
        hint=1,
    ),
    Misconception(
        "still_open",
        "Some sentences are still open, with a question mark. Each needs one of the four verdicts; one "
        "that is off costs a point only where the sentence is right.",
        detects=_is("still_open"),
        hint=2,
    ),
    Misconception(
        "other_page",
        "The table is about another page, or about the other part. The `seed` in the function is that of "
        "your page, `my_seed` above, and its parts are 1 and 2 as they stand there.",
        detects=_is("other_page"),
        hint=3,
    ),
    Misconception(
        "rows_missing",
        "The rows are not one for each sentence of the part: one is missing, stands twice, or is about a "
        "sentence of the other part or of another page. Twelve sentences, twelve rows.",
        detects=_is("rows_missing"),
        hint=3,
    ),
    Misconception(
        "rounded_off",
        "Some corrections are nearly right: rounded too far, or an arXiv number that lacks digits or its "
        "point. Give three digits of a number, and all of a paper's.",
        detects=_is("rounded_off"),
        hint=3,
    ),
    Misconception(
        "other_answer",
        "Some corrections do not answer their question. Read again what it asks for, how many of what and in "
        "which unit, or which paper, and compute it or look it up.",
        detects=_is("other_answer"),
        hint=3,
    ),
)
