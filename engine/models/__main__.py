"""`python -m engine.models`: look, add, list, resume, stop, load and delete from the command line."""

if __name__ == "__main__":
    from engine.settings import prepare_process

    prepare_process()
    from engine.headless_models import main

    raise SystemExit(main())
