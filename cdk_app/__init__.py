"""The infrastructure: configuration -> stage -> stack -> constructs. Never imports the relay; never calls AWS."""
