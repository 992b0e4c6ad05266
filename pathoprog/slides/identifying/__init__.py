"""What in a slide could name a person: its tags, texts, attributes, pictures of the glass, and names."""
