"""One verb a file, in the order of the flow: index, masks, graph, classify, cams, labels, ..."""
