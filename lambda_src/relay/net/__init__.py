"""Wire formats and sockets: HTTP/1.1 responses, chunked bodies, server-sent events, connecting, TLS, and the one wait.

Knows neither AWS nor OpenAI.
"""
