"""The edge's stack and its constructs: CloudFront and WAF in front of the Function URL."""
