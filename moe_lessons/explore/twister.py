"""Random numbers without PyTorch: those of ``torch.Generator``, from Python's own Mersenne Twister.

A page without PyTorch then shows the draws that the lessons speak of.
"""

import math
import random
import sys
from array import array


class Twister:
    """A stream of random numbers, the same as that of ``torch.Generator().manual_seed(seed)``.

    Parameters
    ----------
    seed : int
        0 to 2**32 - 1.

    Examples
    --------
    >>> stream = Twister(9)  # torch.rand(2, dtype=torch.float64) with the seed 9
    >>> [round(number, 4) for number in stream.uniform(2)]
    [0.2463, 0.8392]
    """

    def __init__(self, seed: int) -> None:
        # Python seeds its twister in another way, so that its state is written here.
        words = [seed & 0xFFFFFFFF]
        for i in range(1, 624):
            words.append((1812433253 * (words[-1] ^ (words[-1] >> 30)) + i) & 0xFFFFFFFF)
        self._random = random.Random()
        self._random.setstate((3, (*words, 624), None))

    def words(self, n: int) -> "array[int]":
        """Draw n integers of 32 bits."""
        found = array("I")
        if n:
            found.frombytes(self._random.getrandbits(32 * n).to_bytes(4 * n, "little"))
            if sys.byteorder == "big":
                found.byteswap()
        return found

    def uniform(self, n: int) -> list[float]:
        """Draw n numbers in [0, 1), of 53 bits, as ``torch.rand(n, dtype=torch.float64)`` does."""
        words = self.words(2 * n)
        return [((a & 0x1FFFFF) << 32 | b) * 2**-53 for a, b in zip(words[::2], words[1::2], strict=True)]

    def permutation(self, n: int) -> list[int]:
        """Draw an order of 0 to n - 1, as ``torch.randperm(n)`` does.

        Examples
        --------
        >>> Twister(7).permutation(8)
        [7, 0, 3, 4, 1, 5, 2, 6]
        """
        order = list(range(n))
        for i, word in enumerate(self.words(n - 1)):
            j = i + word % (n - i)
            order[i], order[j] = order[j], order[i]
        return order

    def normal(self, n: int) -> list[float]:
        """Draw n normal numbers, as ``torch.randn(n, dtype=torch.float64)`` does; n is a multiple of 16.

        Examples
        --------
        >>> stream = Twister(7)
        >>> _ = stream.permutation(8)
        >>> [round(number, 4) for number in stream.normal(16)[:2]]
        [-0.2592, -0.0475]
        """
        if n % 16:
            raise ValueError(f"n is {n}: give a multiple of 16")
        drawn: list[float] = []
        uniform = self.uniform(n)
        for start in range(0, n, 16):  # Box and Muller, eight pairs at a time
            pairs = list(zip(uniform[start : start + 8], uniform[start + 8 : start + 16], strict=True))
            long = [math.sqrt(-2 * math.log(1 - u)) for u, _ in pairs]
            drawn += [r * math.cos(2 * math.pi * v) for r, (_, v) in zip(long, pairs, strict=True)]
            drawn += [r * math.sin(2 * math.pi * v) for r, (_, v) in zip(long, pairs, strict=True)]
        return drawn
