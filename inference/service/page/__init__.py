"""The service's page: its static files, and the data that it needs beyond the interface's own routes."""
