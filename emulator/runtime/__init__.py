"""Lambda's Runtime API and the execution environments around the function's processes.

Knows nothing of doors, signatures or OpenAI.
"""
