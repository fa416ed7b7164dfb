"""Who may do what, as it is configured: policies of callers, groups, labels, and the JSON they are written in. Pure.

Knows figures and names; whether a figure holds is for `limits` and the ledger to say. Knows no request and no I/O.
"""
