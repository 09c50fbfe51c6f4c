"""Streams a folder with a journal: python journal_program.py URL FOLDER JOURNAL.

It prints a line for each result: its file, and whether it came from the journal.
"""

import asyncio
import sys
from pathlib import Path

from roboflow_async import RoboflowClient


async def main(url: str, folder: str, journal: str) -> None:
    files = sorted(Path(folder).iterdir())  # noqa: ASYNC240
    async with RoboflowClient("any", api_url=url, requests_per_second=None) as client:
        workflow = client.workflow("ws", "wf")
        async with workflow.stream(files, journal=journal, key="content") as results:
            async for result in results:
                print(result.input.name, int(result.from_journal), result.ok, flush=True)


asyncio.run(main(*sys.argv[1:]))
