"""What `make deploy` asks the account before it starts. Asks Lambda and CloudFormation, and changes nothing."""
