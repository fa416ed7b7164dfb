"""A local AWS Lambda: Runtime API, Function URL and stand-ins around the very bundle that would be deployed.

An independent second implementation of the wire between Lambda and the relay: nothing here imports `relay`.
"""
