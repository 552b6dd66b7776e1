"""What the page shows and what its events do; the one place that knows gradio. The list of tabs: pages.rooms."""

from pages.stubs import skip_stubs

skip_stubs()  # before any module here imports gradio
