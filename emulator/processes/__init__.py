"""Child processes, their log lines, and event loops in threads.

Knows nothing of Lambda, AWS or OpenAI.
"""
