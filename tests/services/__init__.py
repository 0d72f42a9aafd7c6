"""Services as the probe asks them: real servers, and servers that misbehave."""
