"""Meta-World's environments, many worlds at a time (extra `metaworld`)."""
