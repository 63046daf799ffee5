"""Peers that do not outlive the tests: a run that is killed leaves none of them behind."""

import shutil


def leashed(*command: str) -> list[str]:
    """The command of a process that gets SIGTERM when the thread that starts it ends, however it ends (PR_SET_PDEATHSIG, prctl(2))."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--", *command] if setpriv else [*command]
