"""The relay's own list, `prices.json`, as figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

from price_lists.figures import DEFAULT, RATES, ListError, Model, Models, Rates, day

PATH = Path(__file__).resolve().parent.parent / "lambda_src" / "relay" / "pricing" / "prices.json"
_INPUT = {"input", "cached_input", "cache_write", "cache_write_12h", "audio_input", "image_input"}
_OUTPUT = {"output", "audio_output", "image_output"}


@dataclass(frozen=True, slots=True)
class OwnList:
    """The models, and the day on which somebody held them against their sources. `snapshots` are dated names and the models
    whose entries name them; `left_out` are those it gives a reason for not to have."""

    checked: date
    models: Models
    snapshots: Mapping[str, str] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()

    def knows(self, name: str) -> bool:
        """Whether `name` is on the list: itself, as a dated snapshot of an entry, or among those left out."""
        return name in self.models or name in self.snapshots or name in self.left_out


def read(path: Path = PATH) -> OwnList:
    """The list in the file `path`. Raises ListError."""
    try:
        root = json.loads(path.read_text(encoding="utf-8"), parse_float=Fraction)
        models = {name: _model(entry) for name, entry in root["models"].items()}
        snapshots = {
            f"{name}-{date}": name for name, entry in root["models"].items() for date in entry.get("snapshots", ())
        }
        checked, left_out = day(root["as_of"]), frozenset(root.get("left_out", ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ListError(f"{path.name} cannot be read ({error!r}): correct it") from None
    if checked is None:
        raise ListError(f"{path.name}: as_of has to be the day of the last check, such as 2027-01-14")
    return OwnList(checked, models, snapshots, left_out)


def _model(entry: Mapping[str, Any]) -> Model:
    tiers = {DEFAULT: _rates(entry), **{name: _rates(part) for name, part in entry.get("tiers", {}).items()}}
    if "priority" in tiers:
        tiers["fast"] = tiers["priority"]  # OpenAI's newer name of the tier
    percents = dict.fromkeys(_INPUT, entry.get("long_input", 100)) | dict.fromkeys(
        _OUTPUT, entry.get("long_output", 100)
    )
    return Model(
        tiers=tiers,
        long_tiers={
            tier: {name: rate * percents.get(name, 100) / 100 for name, rate in rates.items()}
            for tier, rates in tiers.items()
        },
        long_above=entry.get("long_above"),
        context=entry.get("context"),
        max_output=entry.get("max_output"),
        shutdown=day(entry.get("shutdown")),
    )


def _rates(entry: Mapping[str, Any]) -> Rates:
    return {name: Fraction(entry[name]) for name in RATES if name in entry}
