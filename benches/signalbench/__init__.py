"""The signalling benches: a registrar, calls with passwords, idle connections, a flood. `benches/signalling.py` is the entry."""
