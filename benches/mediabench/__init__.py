"""The media bench: what RTP and audio cost the process that handles them. `benches/media.py` is the entry."""
