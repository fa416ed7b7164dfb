"""OpenAI's API: the client that sends a request, the connection below it, and the keys.

Knows nothing of Lambda, AWS or callers, and does not read what a response says.
"""
