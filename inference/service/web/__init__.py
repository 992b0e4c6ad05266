"""What is asked of the service over HTTP."""
