"""What AWS says of a deployment: its stacks, alarms, logs and metrics, held against what was promised.

Knows boto3 and the names of stacks; sends no request to the relay and knows nothing of its code.
"""
