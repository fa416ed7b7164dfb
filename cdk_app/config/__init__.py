"""The typed values of an environment, and what is allowed for each. Knows nothing of the CDK."""
