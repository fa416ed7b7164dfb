"""The edge's stack and its constructs: CloudFront and WAF in front of the Function URL.

Knows nothing of the function behind the URL, of dashboards or of alarms.
"""
