"""The call bench: what a SIP call costs, measured on the process that answers it. `benches/run.py` is the entry."""
