"""OpenAI's API: its transport, its credentials, its streams and errors, and the usage it reports.

Knows nothing of Lambda, AWS or callers.
"""
