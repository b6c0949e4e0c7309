"""A sentence from an explainer, in our words: to be judged, and to be put right where it is wrong."""

from dataclasses import dataclass
from typing import Literal

VERDICTS = ("right", "wrong", "depends", "unknown")
"""Right as it stands; wrong; true of some models or settings and not of others; nobody outside can say."""

PAGES = ("card", "theory page", "essay", "blog post", "summary", "public code")
"""Where sentences like this stand: the five explainers that the course grew from, and repositories."""

PAPER_TOLERANCE = 2e-6
"""Papers are cited by their arXiv number, written as a number: two of them differ by 1e-5 at least."""


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sentence with its verdict.

    Attributes
    ----------
    id : int
        What it is called in a learner's table; says nothing about the verdict.
    page : str
        One of `PAGES`.
    said : str
        The sentence, in our words.
    asks : str
        A question whose answer puts it right if it is wrong: a number, or a paper.
    verdict : str
        One of `VERDICTS`.
    truth : str
        What is true, in one or two sentences.
    source : str
        Where that was read, or what computes it.
    lesson : str
        Two digits: the lesson that settles it.
    answer : tuple of float
        Any of these answers the question; needed where the sentence is wrong.
    rtol : float
        How far off a number may be, relative to it. (Papers are named exactly.)
    paper : bool
        Whether the question asks for a paper, by its arXiv number.
    quoted : tuple of float
        Numbers in the sentence that might be repeated as an answer.
    claims : tuple of str
        Claims of the lessons that say the same.
    """

    id: int
    page: Literal["card", "theory page", "essay", "blog post", "summary", "public code"]
    said: str
    asks: str
    verdict: Literal["right", "wrong", "depends", "unknown"]
    truth: str
    source: str
    lesson: str
    answer: tuple[float, ...] = ()
    rtol: float = 0.02
    paper: bool = False
    quoted: tuple[float, ...] = ()
    claims: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.verdict == "wrong" and not self.answer:
            raise ValueError(f"sentence {self.id}: a wrong one needs an answer that puts it right")

    def put_right_by(self, correction: float) -> bool:
        """Whether a number, or an arXiv number, answers the question.

        Examples
        --------
        >>> from moe_lessons.exercises.capstone_errors.bank import SENTENCES
        >>> (mixtral,) = (s for s in SENTENCES if "L114" in s.claims)
        >>> mixtral.put_right_by(0.047), mixtral.put_right_by(47)
        (True, False)
        """
        if self.paper:
            return any(abs(correction - a) <= PAPER_TOLERANCE for a in self.answer)
        return any(abs(correction - a) <= self.rtol * abs(a) for a in self.answer)
