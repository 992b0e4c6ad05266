"""Who may do what: roles, tokens, browser sessions, and the gate that every request passes; no web framework."""
