"""What the documents show runs, and what they name is there."""

import asyncio
import re
import signal
import sys
from pathlib import Path

import pytest
from mypy import api
from support import Systems

from ringback import SessionControl

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benches").glob("*.md")])
SNIPPETS = [
    pytest.param(code, id=f"{document.relative_to(ROOT)}:{number}")
    for document in DOCUMENTS
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```$", document.read_text(), re.M | re.S), 1)
]
PROGRAMS = [snippet for snippet in SNIPPETS if "asyncio.run(" in str(snippet.values[0])]


def test_there_is_something_to_check():
    assert SNIPPETS and PROGRAMS


@pytest.mark.timeout(240)  # mypy reads the standard library first
@pytest.mark.parametrize("code", SNIPPETS)
def test_a_snippet_has_the_types_that_the_package_says(code, tmp_path):
    program = tmp_path / "snippet.py"
    program.write_text(code)
    printed, errors, status = api.run(["--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}", str(program)])
    assert status == 0, printed + errors


@pytest.mark.parametrize("code", PROGRAMS)
async def test_a_program_takes_a_call_and_can_be_interrupted(code, tmp_path):
    program = tmp_path / "program.py"
    # The standard's port may be somebody's.
    program.write_text(code.replace("SessionManagerBuilder()", "SessionManagerBuilder().with_sip_port(0)"))
    # What a shell runs in the background ignores interrupts, and so would what it starts; what is caught here is the default there.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-u", str(program), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30), Systems() as systems:
            line = (await process.stdout.readline()).decode()
            address = re.search(r"sips?:\S+", line)
            assert address is not None, line + (await process.stdout.read()).decode()
            caller = await systems.start("alice")
            call = await SessionControl.create_outgoing_call(caller, caller.local_address, address[0])
            await call.wait_for_answer(10)
            await call.hangup()
            process.send_signal(signal.SIGINT)
            rest = (await process.stdout.read()).decode()
            # What Python itself says of an interrupt, and nothing else.
            assert await process.wait() == -signal.SIGINT and rest.strip().endswith("KeyboardInterrupt"), rest
    finally:
        if process.returncode is None:
            process.kill()


def test_each_file_and_test_that_a_document_names_is_there():
    named = {
        (document.parent, path, name)
        for document in DOCUMENTS
        for path, name in re.findall(r"`([\w./-]+/[\w./-]+\.(?:rs|py|c))(?:::(\w+))?`", document.read_text())
    }
    assert len(named) > 100
    for folder, path, name in sorted(named):
        place = ROOT / path if (ROOT / path).exists() else folder / path
        assert place.exists(), path
        assert not name or re.search(rf"\b(?:fn|def) {name}\b", place.read_text()), f"{path}::{name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_each_link_within_the_project_leads_somewhere(document):
    for link in re.findall(r"\]\(([^)#\s]+)\)", document.read_text()):
        assert "://" in link or (document.parent / link).exists(), link
