"""How usage and reservations are kept in DynamoDB, one item per caller, so that no process can lose or double them.

Knows nothing of OpenAI or HTTP; reaches DynamoDB through one class.
"""
