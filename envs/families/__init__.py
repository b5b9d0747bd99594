"""Task families, one per file; `quickstudy.envs.registry` names them."""
