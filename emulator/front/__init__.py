"""The doors of the local Lambda: Function URL, CloudFront, Lambda's own API, and the signatures they verify."""
