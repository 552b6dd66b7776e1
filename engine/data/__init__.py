"""Files of examples: read, recognised, rendered as tokens, prepared and exported."""
