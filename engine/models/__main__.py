"""`python -m engine.models`: look, add, list, resume, stop, load and delete from the command line."""

if __name__ == "__main__":
    from engine.headless_command import command

    command("engine.headless_models")
