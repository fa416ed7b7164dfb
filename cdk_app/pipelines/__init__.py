"""The roles with which GitHub Actions deploys, and the repository that may assume them."""
