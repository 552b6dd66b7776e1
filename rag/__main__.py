"""`python -m rag add|list|remove|rebuild|check|export|import|...`: everything about documents without the page."""

from engine.settings import prepare_process

if __name__ == "__main__":
    prepare_process()
    from rag.headless import main

    raise SystemExit(main())
