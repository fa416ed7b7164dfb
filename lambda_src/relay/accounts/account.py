"""The account of a caller or a group, and what is kept beside it: the nouns, and how they lie in the table. Pure.

All that admission has to judge is in one item per account, so that one conditional write can judge and book at once.
The account (`ledger.items` says where each item lies):

    m:29401234                     requests in that minute (other units: "m:29401234:tok")
    d:2026-11-23:{req,tok,usd}     booked on that day (UTC): requests, tokens, pico-USD
    M:2026-11:{req,tok,usd}        booked in that month
    open  {request id: reservation}      admitted, upper bound booked, not settled yet
    done  {request id: record}           settled, and not yet known to have a record of its own
    ver, stop, halt, over:day, over:LIMIT, key:ID    what the operator set: see `overrides`
    warn:LIMIT                     in which window it was last warned of that limit, by whom: "d:2026-11-23 ID"

Letters in a reservation and a record (short, because each open request is written again with every admission):

    a   admitted at, epoch ms         m   model, as asked for      o   outcome, from a fixed set
    l   lease: process gone, epoch ms e   endpoint                 v   service tier
    u   pico-USD                      bu  upper bound, pico-USD    s   settled at, epoch ms
    t   tokens                        bt  upper bound, tokens      k   kept in `done` until, epoch ms
    c   {kind of token: count}, as OpenAI reported it
    g   group, where the caller has one    lb  labels, where it has some: "project=atlas,team=search"
    w   in a group's account: whose request it is

`expires` is in epoch seconds, for the table's time to live. Windows carry their name, so the first request of a new
minute, day or month is an ordinary one. Texts of callers are cut to a length and a character set by `stored_name`.
"""

from __future__ import annotations

from collections.abc import Mapping

from relay.accounts.limit_kinds import BOUNDED, Unit, Windows, utc_date
from relay.accounts.overrides import Overrides, overrides_of
from relay.aws.update_expression import Body, Item, decode
from relay.frozen import EMPTY, Frozen

OPEN, DONE, WARNED = "open", "done", "warn:"
EXPIRED, VOIDED = "expired", "voided"
"""Outcomes that the ledger itself gives: nobody settled in time; admission gave up and nothing was sent."""

NAME_LENGTH, REASON_LENGTH, SUBJECT_LENGTH = 128, 300, 640
"""Characters at most of a stored model, endpoint, outcome or tier; of an operator's reason; of a caller's subject (a
user's path is up to 512, its name 64)."""


def stored_name(text: str) -> str:
    """`text` as it may be stored, logged and shown: printable ASCII, at most NAME_LENGTH characters.

    A caller chooses the model's name: without a length it could outgrow the item, which could then never be settled.
    """
    text = text[:NAME_LENGTH]
    return text if text.isascii() and text.isprintable() else "".join([c if " " <= c <= "~" else "?" for c in text])


def stored_text(text: str, length: int) -> str:
    """An operator's or AWS's `text` as it may be stored: printable in any script, at most `length` characters."""
    return "".join([c if c.isprintable() else "?" for c in text[:length]])


def label_text(labels: Mapping[str, str]) -> str:
    """Labels as they are stored: "cost_center=42,project=atlas", in the order of their names."""
    return ",".join([f"{name}={labels[name]}" for name in sorted(labels)])


def labels_in(text: str) -> dict[str, str]:
    """The labels in a stored text."""
    return dict([pair.split("=", 1) for pair in text.split(",")]) if text else {}


class Reservation(Frozen):
    """What an admitted request holds. Times are epoch milliseconds; `lease` is when its process is certainly gone.

    `usd` (pico-USD) and `tokens` are its upper bounds. `unbounded`, which is not stored, gives the reason for each unit in
    which it has none: there is no room for it under any limit of that unit. `group` and `labels` (as `label_text` has them)
    are what its caller's policy says. `caller` is its key where the account is its group's. `key_id`, which is not stored
    either, is the id of the key that the caller came with, "" for none.
    """

    id: str
    at: int
    lease: int
    usd: int
    tokens: int
    model: str = ""
    endpoint: str = ""
    group: str = ""
    labels: str = ""
    caller: str = ""
    unbounded: Mapping[Unit, str] = BOUNDED
    key_id: str = ""

    def fields(self) -> Body:
        """As it lies in `open`."""
        return {
            "a": self.at, "l": self.lease, "u": self.usd, "t": self.tokens, "m": stored_name(self.model),
            "e": stored_name(self.endpoint), **_belonging(self),
        }  # fmt: skip

    def amount(self, unit: Unit) -> int:
        """What it books of a unit."""
        return self.amounts()[unit]

    def amounts(self) -> dict[Unit, int]:
        """What it books, by unit."""
        return {Unit.REQUESTS: 1, Unit.TOKENS: self.tokens, Unit.USD: self.usd}


class UsageRecord(Frozen):
    """What remains of a request: what was reserved, what it came to, and how it ended. One for each admitted request."""

    id: str
    at: int
    model: str = ""
    endpoint: str = ""
    outcome: str
    usd: int
    tokens: int
    bound_usd: int = 0
    bound_tokens: int = 0
    settled: int = 0
    keep: int = 0
    tier: str = ""
    group: str = ""
    labels: str = ""
    caller: str = ""
    counts: Mapping[str, int] = EMPTY

    def fields(self) -> Body:
        """As it lies in `done`, in the table and in the log. `keep` is when it may leave `done`."""
        return {
            "a": self.at, "m": stored_name(self.model), "e": stored_name(self.endpoint), "o": stored_name(self.outcome),
            "u": self.usd, "t": self.tokens, "bu": self.bound_usd, "bt": self.bound_tokens, "s": self.settled,
            "k": self.keep, "v": stored_name(self.tier), "c": self.counts, **_belonging(self),
        }  # fmt: skip

    @property
    def reservation(self) -> Reservation:
        """What it was before it was settled, as far as counters are concerned."""
        return Reservation(id=self.id, at=self.at, lease=0, usd=self.usd, tokens=self.tokens)


def _belonging(held: Reservation | UsageRecord) -> Body:
    """Group, labels and caller, which take no room where there are none."""
    return {name: text for name, text in (("g", held.group), ("lb", held.labels), ("w", held.caller)) if text}


def open_of(id: str, fields: Item) -> Reservation:
    """The reservation in `open` under `id`."""
    return Reservation(
        id=id, at=fields["a"], lease=fields["l"], usd=fields["u"], tokens=fields["t"], model=fields["m"],
        endpoint=fields["e"], group=fields.get("g", ""), labels=fields.get("lb", ""),
        caller=fields.get("w", ""),
    )  # fmt: skip


def record_of(id: str, fields: Item) -> UsageRecord:
    """The record with these fields, from `done`, from the table or from the log."""
    return UsageRecord(
        id=id, at=fields["a"], model=fields["m"], endpoint=fields["e"], outcome=fields["o"], usd=fields["u"],
        tokens=fields["t"], bound_usd=fields["bu"], bound_tokens=fields["bt"], settled=fields["s"], keep=fields["k"],
        tier=fields["v"], counts=fields["c"], group=fields.get("g", ""), labels=fields.get("lb", ""),
        caller=fields.get("w", ""),
    )  # fmt: skip


class Account(Frozen):
    """What the item says; empty when there is no item. `warned`: in which window each limit was last warned of, and by
    which request."""

    exists: bool = False
    counters: Mapping[str, int] = EMPTY
    open: Mapping[str, Reservation] = EMPTY
    done: Mapping[str, UsageRecord] = EMPTY
    overrides: Overrides = Overrides()
    warned: Mapping[str, str] = EMPTY

    def count(self, window: str, unit: str = "") -> int:
        """What is booked in a window ("d:2026-11-23") of a unit ("usd"); 0 when nothing is."""
        return self.counters.get(f"{window}:{unit}" if unit else window, 0)

    def expired(self, now: int) -> list[Reservation]:
        """Reservations whose process is gone."""
        return [entry for entry in self.open.values() if entry.lease < now]

    def at_once(self, now: int) -> int:
        """Requests that are open and whose process lives."""
        return len(self.open) - len(self.expired(now))

    def held(self, unit: Unit, now: int) -> int:
        """What of a unit today's open reservations hold and may yet give back."""
        day = utc_date(now)
        return sum([entry.amount(unit) for entry in self.open.values() if utc_date(entry.at) == day])

    def settled(self, counter: str, unit: Unit) -> int:
        """What is booked in a counter ("d:2026-11-23:usd") of a unit, less what open reservations hold of it."""
        window = counter.rpartition(":")[0]
        held = [entry.amount(unit) for entry in self.open.values() if window in vars(Windows.at(entry.at)).values()]
        return self.counters.get(counter, 0) - sum(held)

    def stale(self, now: int) -> list[str]:
        """Names of counters in which nothing will be booked any more: of past minutes, days before yesterday, and
        months before the last. A reservation outlives its day by minutes, never by another day."""
        minute, day = now // 60_000, f"d:{utc_date(now - 86_400_000)}"
        month = f"M:{utc_date(now - 32 * 86_400_000)[:7]}"
        return [
            name
            for name in self.counters
            if (name.startswith("m:") and int(name.split(":")[1]) < minute)
            or (name.startswith("d:") and name[: len(day)] < day)
            or (name.startswith("M:") and name[: len(month)] < month)
        ]


_WINDOWS = frozenset({"m:", "d:", "M:"})


def account_of(item: Item | None) -> Account:
    """The account in a DynamoDB item; an empty one when there is no item."""
    if not item:
        return Account()
    fields = decode({"M": item})
    return Account(
        exists=True,
        counters={name: value for name, value in fields.items() if name[:2] in _WINDOWS},
        open={id: open_of(id, entry) for id, entry in fields.get(OPEN, {}).items()},
        done={id: record_of(id, entry) for id, entry in fields.get(DONE, {}).items()},
        warned={name.removeprefix(WARNED): value for name, value in fields.items() if name.startswith(WARNED)},
        overrides=overrides_of(fields),
    )
