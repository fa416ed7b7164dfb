"""How much one request can cost at most, known before it is sent. Pure.

A bound is never an estimate: what cannot be bounded says so, and is refused where a limit needs the figure. Knows
which of a body's fields make an answer dear; knows neither caller nor store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from relay.accounts.limit_kinds import BOUNDED, Unit
from relay.frozen import Frozen
from relay.limits.sent_body import Sent
from relay.models import Json
from relay.policies.policy import Policy
from relay.pricing.prices import Price

OVERHEAD = 256
"""Tokens that OpenAI adds around a prompt (roles, separators, tool preamble): some 4 a message and fewer than 100 in
all; each message also spends 25 bytes of JSON that are counted here and become no tokens."""

LARGEST_PICTURE = 50_000
"""The dearest picture known: 2,833 + 8 x 5,667 tokens, gpt-4o-mini at high detail.
Source: platform.openai.com/docs/guides/images-vision#calculating-costs."""

EVERY_MODEL_GIVES = 4_096
"""Output tokens that every model of OpenAI's gives that generates text: the least `max_output` of its model pages is
that of gpt-4o-2024-05-13 and gpt-3.5-turbo. Source: platform.openai.com/docs/models."""

AUDIO_TOKENS_PER_SECOND = 10
"""Of sound that goes in. Source: platform.openai.com/docs/guides/realtime-costs."""

MOST_OUTPUT = 10**9
"""More than any answer; what asks for more means "as much as there is"."""


class UnboundedError(Exception):
    """Nothing in the request or on the price list bounds its cost. The text says what does not."""


class Bound(Frozen):
    """The most that a request can take. Tokens and characters are counts, `usd` is in pico-USD.

    `seconds` are those of its sound; `long_cache`: it asks for its prompt to be kept for 12 hours.
    `unbounded` gives the reason for each unit in which nothing bounds it.
    """

    tokens_in: int = 0
    tokens_out: int = 0
    usd: int = 0
    tier: str = ""
    characters: int = 0
    seconds: int = 0
    long_cache: bool = False
    unbounded: Mapping[Unit, str] = BOUNDED

    @property
    def tokens(self) -> int:
        """What a limit on tokens is charged with until the response says more."""
        return self.tokens_in + self.tokens_out


Tokens = Callable[[Sent, Price | None], int]


class CostBound(Frozen):
    """How the requests of one endpoint are bounded: part of the endpoint's entry in relay.request.endpoints.

    `tokens_in` and `tokens_out` give counts and raise UnboundedError. `output_caps` are the fields that cap the output,
    the one that is set when a caller sets none first; `takes_tier`: the endpoint takes a `service_tier`. `spoken` is the
    field that is billed by the character.
    """

    tokens_in: Tokens
    tokens_out: Tokens
    output_caps: tuple[str, ...] = ()
    takes_tier: bool = False
    spoken: str = ""

    def changes(self, fields: Mapping[str, Json], policy: Policy, price: Price | None, cap: int) -> dict[str, Json]:
        """The changes to a body that keep it within `policy`, the environment's `cap` and what its bound is made for."""
        changes = self._capped(fields, policy, price, cap) if self.output_caps else {}
        if self.takes_tier and policy.in_usd and tier_of(fields) in ("", "auto"):
            # "auto" is what the OpenAI project says, which the relay cannot see.
            changes["service_tier"] = "default"
        return changes

    def of(self, sent: Sent, policy: Policy, price: Price | None) -> Bound:
        """The bound of what is sent.

        Raises UnboundedError only where `policy` has a limit that needs what is missing. Else the missing part is 0, and
        the bound says that it is missing: an operator's override may set the limit that needs it.
        """
        if self is FREE:
            return Bound()
        tier, missing, tokens_in, tokens_out = tier_of(sent.fields), dict[Unit, str](), 0, 0
        try:
            if sent.contents.unbounded:
                raise UnboundedError(sent.contents.unbounded)
            tokens_in, tokens_out = self.tokens_in(sent, price), self.tokens_out(sent, price)
        except UnboundedError as error:
            missing = dict.fromkeys((Unit.TOKENS, Unit.USD), str(error))
            tokens_in = tokens_out = 0
        if price is None or price.rates(tier) is None:
            what = f"the service tier {tier!r} of the model" if price else "the model"
            missing[Unit.USD] = f"{what} {str(sent.fields.get('model'))!r} has no price (setting `prices`)"
        needed = (Unit.USD, policy.in_usd), (Unit.TOKENS, policy.in_tokens)
        for reason in [missing[unit] for unit, is_needed in needed if is_needed and unit in missing]:
            raise UnboundedError(reason)
        characters = len(str(sent.fields.get(self.spoken, ""))) if self.spoken else 0
        # What was to be "flex" may come as "default".
        seconds = -(-sent.contents.audio_tokens // AUDIO_TOKENS_PER_SECOND)
        long_cache = sent.contents.long_cache
        usd = 0
        if price:
            most = partial(
                price.at_most, tokens_in, tokens_out, characters=characters, seconds=seconds, long_cache=long_cache
            )
            # Where no tier is pinned OpenAI's project decides, which the relay cannot see.
            is_open = tier in ("", "auto") and self.takes_tier and not policy.in_usd
            usd = max(map(most, price.tiers if is_open else {tier or "default", "default"}))
        return Bound(
            tokens_in=tokens_in, tokens_out=tokens_out, usd=usd, tier=tier, characters=characters, seconds=seconds,
            long_cache=long_cache, unbounded=missing,
        )  # fmt: skip

    def _capped(self, fields: Mapping[str, Json], policy: Policy, price: Price | None, cap: int) -> dict[str, Json]:
        """What was asked for is lowered to the caps; what was left open is closed, but never above the model's ceiling.

        A ceiling that is not known may be lower than the cap, so that is only set where a bound is needed or where
        every model gives as much.
        """
        cap = cap if policy.output_cap is None else min(cap, policy.output_cap)
        given = {name: fields[name] for name in self.output_caps if fields.get(name) is not None}
        if given:
            return {name: cap for name, value in given.items() if not _within(value, cap)}
        ceiling = price.max_output if price else None
        if ceiling is None and cap > EVERY_MODEL_GIVES and not policy.in_tokens:
            return {}
        return {self.output_caps[0]: cap if ceiling is None else min(cap, ceiling)}


def tier_of(fields: Mapping[str, Json]) -> str:
    """The service tier that was asked for, "" for none."""
    return str(fields.get("service_tier") or "")


def _within(value: object, cap: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= cap


def _prompt(sent: Sent, price: Price | None) -> int:
    """Every token stands for at least one byte of UTF-8, so the body's size bounds its text; pictures, sounds and files
    are bounded apart. What separates values in a schema ("1,") may come to the model as more than it is (" | ")."""
    contents = sent.contents
    largest = price.image_tokens if price else LARGEST_PICTURE
    total = len(sent.body) + sent.body.count(b",") + OVERHEAD - contents.binary
    total += contents.pictures * largest + contents.audio_tokens
    # What is compacted first may be read once more.
    return (1 + contents.compacts) * _within_context(None if contents.fills_context else total, price)


def _text(sent: Sent, price: Price | None) -> int:
    return _within_context(len(sent.body) + OVERHEAD, price)


def _for_each(sent: Sent, price: Price | None) -> int:
    """Several pictures are billed as several requests, the prompt with each."""
    return _count(sent.fields, "n", 1) * _prompt(sent, price)


def _recording(sent: Sent, price: Price | None) -> int:
    text = len(sent.body) - sent.contents.binary + OVERHEAD
    return _within_context(None if sent.contents.fills_context else text + sent.contents.audio_tokens, price)


def _within_context(total: int | None, price: Price | None) -> int:
    """No model takes more than its context, and what it does not take is not billed."""
    context = price.context if price else None
    if total is None and context is None:
        raise UnboundedError("its input holds files or stored parts, and no context size of the model is on the list")
    return min(figure for figure in (total, context) if figure is not None)


def _generated(sent: Sent, price: Price | None, output_caps: tuple[str, ...]) -> int:
    """What the responses can hold together: each what was asked for, at most what the model can give."""
    values = [sent.fields[name] for name in output_caps if sent.fields.get(name) is not None]
    caps = [value for value in values if isinstance(value, int) and _within(value, MOST_OUTPUT)]
    ceiling = price.max_output if price else None
    # Where both of chat's names are given the larger counts, and what is no number counts as the model's most.
    asked = max(caps) if caps and len(caps) == len(values) else ceiling
    most = min((figure for figure in (asked, ceiling) if figure is not None), default=None)
    if most is None or (sent.contents.compacts and not ceiling):
        raise UnboundedError("its output is not capped: give max_completion_tokens or max_output_tokens")
    most += (ceiling or 0) * sent.contents.compacts  # no cap of the caller's is known to hold for it
    # Words of a prediction that the model did not take are billed as output.
    predicted = len(sent.body) if sent.fields.get("prediction") is not None else 0
    return most * _count(sent.fields, "n", 1) + predicted


def _transcript(sent: Sent, price: Price | None) -> int:
    """Long recordings are transcribed in pieces, so one answer's ceiling does not hold for them; but nobody says more words
    than there are tokens of sound."""
    if price is not None and price.by_the_second:
        return _recording(sent, price)
    return max(_generated(sent, price, ()), _recording(sent, price))


def _pictures(sent: Sent, price: Price | None) -> int:
    """Tokens of the pictures: the largest size at the highest quality, and 100 for each partial one on the way.
    Source: platform.openai.com/docs/guides/image-generation#cost-and-latency."""
    if price is None or price.output_per_image is None:
        raise UnboundedError(
            "nothing on the price list bounds a picture of this model (`output_per_image` in the setting `prices`)"
        )
    return _count(sent.fields, "n", 1) * (price.output_per_image + 100 * _count(sent.fields, "partial_images", 0))


def _by_character(sent: Sent, price: Price | None) -> int:
    if price is None or not any(rates.character or rates.request for rates in price.tiers.values()):
        raise UnboundedError("speech is billed by the sound that comes out, and the model has no price by character")
    return 0


def _nothing(sent: Sent, price: Price | None) -> int:
    return 0


def _count(fields: Mapping[str, Json], name: str, least: int) -> int:
    value = fields.get(name)
    return max(least, value) if isinstance(value, int) else least


_CHAT_CAPS = ("max_completion_tokens", "max_tokens")
_RESPONSES_CAPS = ("max_output_tokens",)

CHAT = CostBound(
    tokens_in=_prompt, tokens_out=partial(_generated, output_caps=_CHAT_CAPS), output_caps=_CHAT_CAPS, takes_tier=True
)
RESPONSES = CHAT.changed(tokens_out=partial(_generated, output_caps=_RESPONSES_CAPS), output_caps=_RESPONSES_CAPS)
# Nothing caps it but what the model can give.
COMPACTION = RESPONSES.changed(tokens_out=partial(_generated, output_caps=()), output_caps=())
EMBEDDINGS = CostBound(tokens_in=_text, tokens_out=_nothing)
MODERATIONS = CostBound(tokens_in=_prompt, tokens_out=_nothing)
IMAGES = CostBound(tokens_in=_for_each, tokens_out=_pictures)
SPEECH = CostBound(tokens_in=_text, tokens_out=_by_character, spoken="input")
TRANSCRIPTIONS = CostBound(tokens_in=_recording, tokens_out=_transcript)
FREE = CostBound(tokens_in=_nothing, tokens_out=_nothing)
"""Costs nothing, whatever a model's price is. It is counted as a request all the same."""
