"""Which neutral pictures a frame is compared with.

A record brings a neutral picture of its own view. Those of other views are the ones that other frames of the same
person bring.
"""

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from painjax.data.sources import FrameSource
from painjax.errors import UserError

REFERENCES = ("same_view", "random_view", "several")
_PROTOCOL = {
    "same_view": "the neutral picture of the same identity that the data set provides with each frame",
    "random_view": "a neutral picture of the same identity from another view, drawn once for each frame",
    "several": "{count} neutral pictures of the same identity, views in turn, drawn once for each frame",
}


def neutral_protocol(config: ConfigDict) -> str:
    """How frames get their neutral references in evaluation, for people to read."""
    return _PROTOCOL[config.data.get("neutral", "same_view")].format(count=config.data.get("neutrals", 1))


class References:
    """For 'random_view' and 'several': whose neutral pictures a frame is given.

    Args:
      config: reads `data.neutral` and, for 'several', `data.neutrals`, the number of pictures.
      source: the split; of its records, which are read whole, identities and views are kept.

    Raises:
      UserError: if a person is seen from one view only, where another is asked for.
    """

    def __init__(self, config: ConfigDict, source: FrameSource):
        self._other = config.data.neutral == "random_view"
        self._count = 1 if self._other else config.data.neutrals
        # Of a data set without views every frame counts as of one.
        fields = [name for name in ("identity/id", "view/id") if source.has(name)]
        self._identity, self._view = [*source.columns(*fields), np.zeros(len(source), int)][:2]
        order = np.lexsort((self._view, self._identity))
        keys = np.stack([self._identity, self._view])[:, order]
        starts = np.flatnonzero(np.any(np.diff(keys, axis=1, prepend=keys[:, :1] - 1), axis=0))
        # identity -> view -> frames
        self._frames: dict[int, dict[int, np.ndarray]] = {}
        for start, group in zip(starts, np.split(order, starts[1:]), strict=True):
            identity, view = (int(key[start]) for key in keys)
            self._frames.setdefault(identity, {})[view] = group
        lonely = [identity for identity, views in self._frames.items() if len(views) == 1]
        if self._other and lonely:
            raise UserError(
                f"config.data.neutral is 'random_view', and {source!r} shows {len(lonely)} identities, such as "
                f"{lonely[0]}, from one view only. Use 'same_view' or 'several'."
            )

    def draw(self, index: int, rng: np.random.Generator) -> Int[np.ndarray, "K"]:
        """The frames whose neutral pictures go with frame `index`: views drawn first, each as likely as the next, then
        a frame of each; views and frames come again only when all have had their turn."""
        views = self._frames[int(self._identity[index])]
        names = [view for view in views if not (self._other and view == self._view[index])]
        frames = [rng.permutation(views[view])[: self._count] for view in rng.permutation(names).tolist()]
        ranked = [frame for turn in range(self._count) for each in frames for frame in each[turn : turn + 1]]
        return np.resize(ranked, self._count)  # from the beginning again, of a person with too few
