"""One slide's page, PDF, map and folder."""
