"""Which identities a shard of a data set holds, where several machines make one shard each."""

import dataclasses
import re

from data_gen.scene import split_of


@dataclasses.dataclass(frozen=True)
class Shard:
    """One of `count` shards, 0 <= index < count: every count-th identity.

    Raises:
      ValueError: if there is no such shard.
    """

    index: int
    count: int

    def __post_init__(self):
        if not 0 <= self.index < self.count:
            raise ValueError(
                f"There is no shard {self}; expected i/n with 0 <= i < n, such as 0/8, and 7/8 for the last of eight."
            )

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard that `i/n` names."""
        numbers = re.fullmatch(r"(\d{1,8})/(\d{1,8})", text)
        if not numbers:
            raise ValueError(f"{text!r} names no shard; expected i/n, such as 0/8 for the first of eight.")
        return cls(int(numbers[1]), int(numbers[2]))

    def identities(self, total: int) -> range:
        """Its identities among `total`.

        Raises:
          ValueError: if there are more shards than identities.
        """
        if self.count > total:
            raise ValueError(
                f"{total} identities cannot fill {self.count} shards: an identity is not divided. Take {total} at most."
            )
        return range(self.index, total, self.count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def holders(count: int, dataset_seed: int, total: int, split: str) -> list[int]:
    """Which of `count` shards hold somebody of a split, ascending: a small split is not in all of them."""
    return sorted({i % count for i in range(total) if split_of(dataset_seed, i) == split})
