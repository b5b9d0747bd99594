"""Teachers: who chooses the tasks to practise."""
