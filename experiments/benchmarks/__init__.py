"""`quickstudy bench`: speed and memory, held against bars."""
