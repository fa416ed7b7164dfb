"""The relay: the process that Lambda starts, from an invocation to OpenAI and back.

Only `app` wires the rooms and only `handler` joins them; they do not know one another.
"""
