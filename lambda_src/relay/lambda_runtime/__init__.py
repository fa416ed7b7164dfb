"""AWS Lambda's Runtime API and the loop around it: takes invocations, writes responses, ends well.

Knows nothing of OpenAI, limits or doors.
"""
