"""Stand-ins for what the function calls: AWS, OpenAI, and an upstream at the level of bytes.

Knows nothing of the function or of how it is invoked.
"""
