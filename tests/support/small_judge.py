"""The server of `judge_server` as a separate process that replaces vLLM: `python small_judge.py PORT`."""

import asyncio
import sys
from typing import Any

from judge_server import JudgeServer, completion, reply


class SmallJudge(JudgeServer):
    """Also answers the first request, which asks whether the judge sees a picture."""

    async def respond(self, how: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        if len(body["messages"]) > 1:
            return await super().respond(how, body, writer)
        reply(writer, 200, completion('{"seen":true}'))
        return True


async def serve(port: int) -> None:
    """Serves until the process is killed."""
    judge = SmallJudge()
    judge.port = port
    async with judge:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
