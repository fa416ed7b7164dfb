"""Keys for clients that know only a bearer: how one is made, kept as a hash, and judged; and the function that does it.

The whole folder is what API Gateway's authorizer function is made of. Knows nothing of the relay, of OpenAI or of limits.
"""
