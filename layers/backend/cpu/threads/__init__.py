"""How kernels run on several cores."""
