"""Everything that runs: configuration, training, evaluation, keeping, the command line."""
