"""Parts of the store: its tables, its folder, its filters, its one-file export."""
