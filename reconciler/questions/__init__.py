"""Questions about access: who would gain or lose what, why, what it was, whether it is right."""
