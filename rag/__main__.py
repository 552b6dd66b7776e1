"""`python -m rag add|list|remove|rebuild|check|export|import|...`: everything about documents without the page."""

from engine.headless_command import command

if __name__ == "__main__":
    command("rag.headless")
