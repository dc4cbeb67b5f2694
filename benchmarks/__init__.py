"""Every figure of speed and cost in the README comes from a script in here."""
