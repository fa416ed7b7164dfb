"""Stand-ins for what the function calls: AWS, OpenAI, and an upstream at the level of bytes."""
