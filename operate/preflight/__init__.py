"""What `make deploy` asks the account before it starts, and what an environment has left behind there. Asks Lambda and
CloudFormation; removes stacks only on request, and only an environment's own."""
