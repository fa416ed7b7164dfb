"""HTTP listeners on the loopback interface, and HTTP/1.1 over h11; knows nothing of Lambda."""
