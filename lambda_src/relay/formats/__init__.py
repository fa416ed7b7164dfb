"""The formats of what callers send, read strictly and written anew: JSON, forms, recordings.

Knows bytes and their grammar; knows neither OpenAI's fields nor what may be asked for.
"""
