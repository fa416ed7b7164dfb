"""What a caller may send: parses and checks a body, and makes the upstream request from it.

Knows no sockets, no AWS, and nothing of what the caller may spend.
"""
