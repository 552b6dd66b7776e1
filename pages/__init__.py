"""What the page shows and what its events do; the one place that knows gradio. The list of tabs: pages.rooms."""
