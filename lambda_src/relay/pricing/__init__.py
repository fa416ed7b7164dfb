"""What OpenAI charges: money as integers, the list of prices, and the cost of a counted usage.

Knows no caller, no limit, no request and no I/O.
"""
