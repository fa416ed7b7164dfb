"""AWS's JSON services on the wire: signed calls, credentials, Secrets Manager, DynamoDB and its expressions.

Knows `net`, and of AWS only what is called here. Knows nothing of OpenAI, of limits or of what is stored.
"""
