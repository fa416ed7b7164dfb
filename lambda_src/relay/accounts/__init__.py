"""What is counted and kept: the kinds of limits, and the nouns of an account. Pure.

Knows no policy, no price and no OpenAI, and of DynamoDB only how its values are written. `limits` and `ledger` meet here.
"""
