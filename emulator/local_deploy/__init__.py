"""Deploys an environment with the real CDK CLI to an AWS account that MiniStack plays on this machine.

Never reaches AWS itself.
"""
