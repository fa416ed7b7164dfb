"""What a public list says otherwise than the relay's. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction

from price_lists.figures import Model, Models
from price_lists.own_list import OwnList

SOON = timedelta(days=60)
STALE = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of one model. `cheaper`: the relay's is the one with which a bill may exceed what was reserved."""

    model: str
    what: str
    here: str
    there: str
    cheaper: bool

    def __str__(self) -> str:
        return f"{self.model}: {self.what} is {self.here} here, {self.there} there"


def differences(own: OwnList, public: Models) -> Iterator[Difference]:
    """All figures that the public list states otherwise. What it says nothing of is no difference."""
    for name, here in own.models.items():
        if (there := public.get(name)) is not None:
            yield from _between(name, here, there)
    for name, model in own.snapshots.items():
        if (there := public.get(name)) is not None:
            entry = public.get(model)
            told = {_figures(each) for each in _between(model, own.models[model], entry)} if entry else set()
            # What is said of the entry itself is not said again.
            yield from (each for each in _between(name, own.models[model], there) if _figures(each) not in told)


def _figures(difference: Difference) -> tuple[str, str, str]:
    return difference.what, difference.here, difference.there


def _between(name: str, here: Model, there: Model) -> Iterator[Difference]:
    yield from _prices(name, here, there)
    yield from _sizes(name, here, there)
    if there.shutdown not in (None, here.shutdown):
        earlier = here.shutdown is not None and there.shutdown is not None and here.shutdown < there.shutdown
        yield Difference(name, "shutdown", str(here.shutdown or "none"), str(there.shutdown), not earlier)


def _prices(name: str, here: Model, there: Model) -> Iterator[Difference]:
    mark = here.long_above or there.long_above
    for long, tiers in ((False, there.tiers), (True, there.long_tiers if mark else {})):
        for tier, rates in tiers.items():
            if tier not in here.tiers:
                yield Difference(name, f"the tier {tier}", "not listed", "listed", cheaper=False)
                continue
            for rate, theirs in rates.items():
                ours = here.price(tier, rate, long=long)
                # Free is as good as not listed: what has no price is not billed.
                if (ours or 0) != theirs:
                    what = f"{rate} ({tier})" if not long else f"{rate} ({tier}, more than {mark} tokens)"
                    yield Difference(name, what, _shown(ours), _shown(theirs), ours is not None and ours < theirs)


def _sizes(name: str, here: Model, there: Model) -> Iterator[Difference]:
    """A context or an output that is larger there makes a bound too low; smaller ones only make it higher."""
    if here.long_above and there.long_above and here.long_above != there.long_above:
        yield Difference(
            name, "long_above", str(here.long_above), str(there.long_above), here.long_above > there.long_above
        )
    if there.long_above and not here.long_above and (there.context or 0) > there.long_above:
        yield Difference(name, "long_above", "none", str(there.long_above), cheaper=True)
    if here.context and (there.context or 0) > here.context:
        yield Difference(name, "context", str(here.context), str(there.context), cheaper=True)
    if there.max_output and here.max_output and here.max_output != there.max_output:
        below = here.max_output < there.max_output
        yield Difference(name, "max_output", str(here.max_output), str(there.max_output), below)


def missing(own: OwnList, public: Models, today: date) -> list[str]:
    """Models that the public list knows as served today and the relay's does not."""
    alive = {
        name for name, model in public.items() if model.served and (model.shutdown is None or model.shutdown > today)
    }
    return sorted(name for name in alive if not own.knows(name))


def ending(own: OwnList, today: date) -> dict[str, int]:
    """Models that end within 60 days or have ended, and in how many days; 0 and less for those that have."""
    days = {name: (model.shutdown - today).days for name, model in own.models.items() if model.shutdown}
    return dict(sorted((each for each in days.items() if each[1] <= SOON.days), key=lambda each: each[1]))


def is_stale(own: OwnList, today: date) -> bool:
    """Whether nobody has held the list against its sources for more than 60 days."""
    return today - own.checked > STALE


def _shown(price: Fraction | None) -> str:
    return "not listed" if price is None else f"{float(price):.9g}"
