"""The commands that talk to a server, one file a noun; each declares its table beside its handlers."""
