"""What a hosted reply is made of: the request, the wire, the answer, and errors in words."""
