"""Who asks, and what they may read: from a request's credentials to a `Caller`. The app meets `authenticator.py` and
`cors.py`; everything a caller may read is in the value they return."""
