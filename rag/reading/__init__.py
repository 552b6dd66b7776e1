"""Parts of reading: one module for each kind of file, and the child process in which they run under limits."""
