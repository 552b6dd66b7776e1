"""The parts of engine/serve.py: an OpenAI-compatible server over the decode loops."""
