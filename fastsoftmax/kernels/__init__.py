"""The compiled kernels: one file a rung, and the shapes that `auto` treats in a way of their own."""
