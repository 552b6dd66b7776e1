"""What a conversation with tools is made of: schemas, calls, limits, and the tools that ship."""
