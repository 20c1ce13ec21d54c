"""What a command of the lab does: experiments over recipes, and their files."""
