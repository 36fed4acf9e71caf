"""The PR bot's hands: Git through the real `git`, and the forge's API. What to propose is decided elsewhere."""
