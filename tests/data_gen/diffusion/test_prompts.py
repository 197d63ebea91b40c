"""Prompts say what the identity's own draws say."""

import collections

from data_gen import scene, sessions
from data_gen.diffusion import prompts
from data_gen.diffusion.config import DiffusionConfig
from data_gen.scene import CELLS, GENDERS
from data_gen.textures import beard, hair
from data_gen.textures.clothes import top
from data_gen.textures.haircut import CUTS

CONFIG = DiffusionConfig("a/b", "c/d")
PEOPLE = [scene.identity(0, i) for i in range(3 * CELLS)]


def test_age_gender_group_hair_beard_clothes_and_place():
    for person in PEOPLE:
        text, look = prompts.compose(person, CONFIG).text, hair.style(person)
        assert f"{person.age:.0f} year old {list(prompts.PEOPLE.values())[person.ethnicity]} " in text
        assert (" man," in text) == (GENDERS[person.gender] == "male") != (" woman," in text)
        assert prompts.CUT_WORDS[look.name].removeprefix("a ").removeprefix("an ") in text
        assert ("beard" in text or "moustache" in text or "goatee" in text) == bool(beard.choose(person, look))
        assert top(person).kind.split()[0].replace("crew", "crew-neck").replace("V", "V-neck") in text
        assert prompts.PLACE_WORDS[sessions.room(person.seed).kind] in text
        assert text.endswith(CONFIG.style)
        assert "a office" not in text and ", ," not in text and len(text.split()) <= 50


def test_every_name_has_words():
    assert set(prompts.CUT_WORDS) == set(CUTS) | {"balding"}
    assert set(prompts.PLACE_WORDS) == set(sessions.ROOMS)
    assert set(prompts.PEOPLE) == set(scene.ETHNICITIES)
    assert set(prompts.BEARD_WORDS) == set(beard.LENGTH_MM)


def test_the_words_of_age_rise_with_it():
    words = {p.age: next(w for _, w in prompts.AGE_WORDS if w in prompts.compose(p, CONFIG).text) for p in PEOPLE}
    order = [w for _, w in prompts.AGE_WORDS]
    ranks = [order.index(words[age]) for age in sorted(words)]
    assert ranks == sorted(ranks) and len(set(ranks)) == len(order)


def test_each_identity_and_try_has_its_own_seed():
    seeds = [prompts.seed(person, attempt) for person in PEOPLE for attempt in range(4)]
    assert collections.Counter(seeds).most_common(1)[0][1] == 1
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds[:4] == [prompts.seed(scene.identity(0, 0), attempt) for attempt in range(4)]
