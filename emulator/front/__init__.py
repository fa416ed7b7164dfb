"""The doors of the local Lambda: Function URL, CloudFront, Lambda's own API, and the signatures they verify.

Knows nothing of OpenAI or of what the function does with an event.
"""
