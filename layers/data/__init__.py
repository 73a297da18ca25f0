"""What the data layers share, none of it a layer: decoding, databases, transformations and prefetching."""
