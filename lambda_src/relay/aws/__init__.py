"""AWS's JSON services on the wire: signed calls, credentials, Secrets Manager, DynamoDB and its expressions.

Knows nothing of OpenAI or of what is stored.
"""
