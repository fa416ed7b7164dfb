"""Who may spend what: policies, prices, the upper bound of a request's cost, admission and settlement.

Knows neither HTTP nor DynamoDB. Reaches the store through one class, `ledger.Ledger`, and shares the nouns of `accounts`
with it; the ledger knows nothing of this room.
"""
