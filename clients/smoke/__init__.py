"""The check of a deployment from outside, and of what AWS says about it: `make smoke URL=https://...`.

Knows the relay's URL, its HTTP surface and the names of its stacks; nothing of the relay's code.
"""
