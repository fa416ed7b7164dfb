"""Ways to call the relay: OpenAI's SDK with signed requests, a signing proxy, a check of a deployment.

Knows nothing of the relay's code: only its URL, its HTTP surface and AWS's signatures.
"""
