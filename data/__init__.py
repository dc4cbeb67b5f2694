"""Photos, tags and masks: readers, label files, transforms and loaders."""
