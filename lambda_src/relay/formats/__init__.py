"""The formats of bodies: JSON, forms and recordings, read strictly and written anew, and JSON read in passing.

Knows bytes and their grammar; knows neither OpenAI's fields nor what may be asked for.
"""
