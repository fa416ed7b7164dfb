"""What an operator does with the limits' table: look, stop, raise, sweep, export. Runs with the operator's own rights.

It knows the items through the relay's own modules, so that both mean the same; the relay knows nothing of it.
"""
