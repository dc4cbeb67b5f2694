"""Context heads by name; each module has one `build(channels, strides, classes, config, graph)`."""
