"""How usage and reservations are kept in DynamoDB, one item per account, so that no process can lose or double them.

Knows nothing of OpenAI, HTTP, policies or prices. Others use one class, `Ledger`, and the nouns of `accounts`; DynamoDB is
reached through one class, `Table`, which alone knows `aws.dynamodb`.
"""
