"""What a caller may send: parses and checks a body, and makes the upstream request from it.

Knows no sockets, no AWS, and nothing of what the caller may spend: of the limits it knows only how a cost is bounded
(relay.limits.cost_bound, by a policy and a price), and the limits know nothing of it.
"""
