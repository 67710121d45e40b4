"""What the page about OpenAI's clients shows is what happens."""

import asyncio
import functools
import io
import re
from pathlib import Path

from gateway.openai.views import (
    ChatCompletion,
    ConversationView,
    ItemList,
    ModelList,
    ResponseView,
)
from tests.gateway.openai.sdk import MODEL, TOOL, talking

PAGE = Path(__file__).parents[3] / "docs" / "openai.md"

KEY = 'open("contextd-data/owner.key").read().strip()'


async def test_the_examples_of_the_page_do_what_they_say(store_url: str) -> None:
    blocks = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE
    )
    async with talking(store_url) as talk:
        source = "\n".join(blocks).replace("http://127.0.0.1:8000", talk.service.client.url)
        source = source.replace(KEY, "'any'")
        printed = io.StringIO()
        names = {"print": functools.partial(print, file=printed)}
        await asyncio.to_thread(exec, f"{source}\nclient.close()", names)
    lines = printed.getvalue().splitlines()
    assert len(blocks) == 3
    assert lines[0].startswith('You said, in 1 word: "Hello!"')
    assert lines[-4:] == ["message"] * 4


async def test_answers_have_the_shape_that_the_description_says(store_url: str) -> None:
    async with talking(store_url) as talk:
        client = talk.client
        completion = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Hi."}]
        )
        response = await client.responses.create(model=MODEL, input="Hi.", tools=[TOOL])
        conversation = await client.conversations.create()
        items = await client.responses.input_items.list(response.id)
        shown = (
            (ChatCompletion, completion),
            (ResponseView, response),
            (ConversationView, conversation),
            (ItemList, items),
            (ModelList, await client.models.list()),
        )
        for view, answer in shown:
            view.model_validate_json(answer.to_json())
