"""The roles with which GitHub Actions deploys, and the repository that may assume them.

Knows nothing of the stacks that those roles deploy.
"""
