"""Files of other formats become the project's: weights and features; pickle is opened in a child process alone."""
