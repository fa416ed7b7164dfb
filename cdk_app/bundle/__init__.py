"""Builds the directory that becomes the function's zip. Knows no CDK."""
