"""The whole page, from pages.rooms: header, banner, tabs; and how Gradio is told to serve it."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from starlette.middleware import Middleware

from engine.serve import Beside, Service
from engine.settings import ASSETS, settings
from pages.entrance import SHUT_FOR, Entrance
from pages.guard import Guard
from pages.launch import Launch, unusable
from pages.rooms import ROOMS, Room
from pages.theme import theme
from pages.upload import routes
from rag.serve import service as with_collections

log = logging.getLogger(__name__)
WARM_AFTER = 2.0  # seconds; the first page and its files should not compete with importing torch for the processor
HEADER = """<header class="masthead"><svg viewBox="0 0 34 28" aria-hidden="true">
<rect x="1" y="1" width="13" height="26" rx="1.5"/><rect x="20" y="1" width="13" height="26" rx="1.5"/>
<path d="M14 8h6M14 20h6"/></svg><div><h1>Diptych</h1>
<p>A base model and its fine-tuned self, side by side.</p></div></header>"""
BANNER = """<p class="banner" role="note"><strong>Open demo.</strong> {why}Everybody may compare the models in
the list, chat with them and ask the collections; everything else is for an owner who logs in (<code>--auth</code> or
the secret <code>DIPTYCH_AUTH</code>).</p>"""
QUEUE_LOOK = 0.01  # seconds between two looks into the queue; at Gradio's own 0.001 an idle app is never quite idle


class Page(gr.Blocks):
    """Blocks that start faster: the queue is ours from the start, and what was laid out is described once.

    Calling queue() afterwards would make a whole FastAPI app once more, as __init__, __exit__ and launch() do anyway,
    and each of them describes every component and event anew.
    """

    def __exit__(self, *args: Any) -> None:
        """See gr.Blocks; nothing is laid out after it."""
        self.default_config.get_config = functools.cache(self.default_config.get_config)  # type: ignore[method-assign]
        super().__exit__(*args)

    def queue(self, *_: Any, **__: Any) -> Page:
        """See gr.Blocks.queue; __init__ calls it."""
        super().queue(max_size=64, default_concurrency_limit=8, api_open=False)
        self._queue.sleep_when_free = QUEUE_LOOK
        return self


def site(launch: Launch, rooms: Sequence[Room] = ROOMS) -> gr.Blocks:
    """The app's Blocks, with a tab for each room."""
    with Page(title="Diptych", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as blocks:
        header = gr.HTML(HEADER, padding=False, elem_id="masthead")
        if launch.mode == "visitor":
            why = "This Space has no owner set. " if launch.on_space else ""
            gr.HTML(BANNER.format(why=why))
        with gr.Tabs():
            for room in rooms:
                with gr.Tab(room.title, id=room.title.lower()):
                    room.build(launch)
        tell_quietly(blocks, header)
    return blocks


def tell_quietly(blocks: gr.Blocks, place: gr.HTML) -> None:
    """Let events that show no progress tell of it at one place instead of at all of their outputs.

    With every step of every event Gradio's page updates each component that was ever told of progress, shown or not;
    with hundreds of them that takes longer than the event.
    """
    for event in blocks.fns.values():
        if event.show_progress == "hidden":
            event.show_progress_on = [place]


def serve(blocks: gr.Blocks, launch: Launch, service: Service | None = None, **options: Any) -> str:
    """Start the server and return at once with the page's address; `options` go to Gradio's launch().

    `service` answers OpenAI's API on the same port. Raises Problem where the port cannot be used.
    """
    service = service or with_collections(keys_needed(launch))
    hosts: set[str] = set()
    entrance = Entrance(launch.auth) if launch.auth else None
    guard = Middleware(Guard, launch=launch, hosts=hosts, entrance=entrance)
    try:
        _, local, shared = launched(
            blocks, launch, [guard, Middleware(Beside, service=service)], auth=entrance, **options
        )
    except OSError as error:
        raise unusable(launch.port, launch.host, error) from error
    ends_with(blocks.server, service)
    if shared:
        hosts.add(urlsplit(shared).hostname or "")
    elif launch.share:
        log.warning("there is no share link: gradio.live could not be reached. The page works without it.")
    return shared or local


def launched(
    blocks: gr.Blocks, launch: Launch, middleware: list[Middleware], **options: Any
) -> tuple[Any, str, str | None]:
    """Gradio's launch() with everything off that Diptych does not use: (app, local address, share link)."""
    return blocks.launch(
        server_name=launch.host,
        server_port=launch.port or None,
        share=launch.share,
        auth_message=f"This Diptych belongs to somebody. Log in to use it. {SHUT_FOR}",
        app_kwargs={"middleware": middleware, "routes": routes()},
        theme=theme(),
        css_paths=[
            ASSETS / name for name in ("style.css", "knowledge.css", "assistant.css", "models.css", "serve.css")
        ],
        js=(ASSETS / "page.js").read_text(encoding="utf-8"),
        favicon_path=ASSETS / "favicon.png",
        show_error=False,
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        strict_cors=True,
        allowed_paths=[],
        blocked_paths=[str(settings().home)],
        max_file_size=settings().max_upload,
        state_session_capacity=500,
        footer_links=[],
        quiet=True,
        prevent_thread_lock=True,
        **options,
    )


def keys_needed(launch: Launch) -> bool:
    """Whether programs need a key: always, unless the person at this machine is the only one who reaches it."""
    return launch.public or launch.mode != "local"


def ends_with(server: Any, service: Service) -> None:
    """Tell open streams of the server's end before it waits for them."""
    close = server.close

    def closing() -> None:
        service.stop()
        close()

    server.close = closing


def warm_later() -> None:
    """Load the first model in the background, once the page had its turn."""
    timer = threading.Timer(WARM_AFTER, warm)
    timer.daemon = True
    timer.start()


def warm() -> None:
    """Import torch and load the first model; the first Send does it itself where this fails."""
    try:
        from engine.pool import warm as warm_pool

        warm_pool()
    except Exception:
        log.exception("the first model could not be loaded ahead of time")
