"""Parts of the index: its lock, its state file and seal, the child that opens a folder first."""
