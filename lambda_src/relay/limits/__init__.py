"""Who may spend what: policies, prices, the upper bound of a request's cost, admission and settlement.

Knows neither HTTP nor DynamoDB; reaches the store through `relay.ledger.ledger` only.
"""
