"""The relay's price list held against two public ones: what differs, what is missing, what ends soon.

Reads files only, and changes nothing: a person decides what goes into the list. Knows nothing of the relay's code.
"""
