"""From OpenAI's response to the caller's: its stream formats, usage and errors, what passes and what is changed on the way.

Bytes in, bytes out: knows neither connections nor Lambda, limits or requests.
"""
