"""The ways in: each turns Lambda's event into a `Request`, and says whether it came the way it had to.

Knows nothing of OpenAI or limits.
"""
