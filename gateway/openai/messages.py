"""Messages between OpenAI's words and ours."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import JsonValue

from fsm import ClientTool, Message, RecordedMessage, ToolCall
from gateway.openai.bodies import (
    ChatMessage,
    ChatTool,
    Content,
    ContentPart,
    ImageUrl,
    InputItem,
    ResponseTool,
)
from gateway.openai.ids import hexed
from gateway.openai.transcript import message_mark
from gateway.problems import Problem

Item = dict[str, JsonValue]
"""An item of a response or a conversation."""


# What comes in


def read_chat(messages: Sequence[ChatMessage]) -> tuple[str, list[RecordedMessage]]:
    """The system prompt that a chat begins with, and the messages after it.

    Raises:
        Problem: invalid-body.
    """
    leading = 0
    for message in messages:
        if message.role not in {"system", "developer"}:
            break
        leading += 1
    prompt = "\n\n".join(_text(message.content) for message in messages[:leading])
    return prompt, [
        _read_message(index, messages[index]) for index in range(leading, len(messages))
    ]


def read_news(messages: Sequence[ChatMessage]) -> list[RecordedMessage]:
    """The messages behind a chat's last reply; the context has those before.

    Raises:
        Problem: invalid-body, if there is nothing new.
    """
    first = 0
    for index, message in enumerate(messages):
        if message.role == "assistant":
            first = index + 1
    news = [
        _read_message(index, messages[index])
        for index in range(first, len(messages))
        if messages[index].role in {"user", "tool"}
    ]
    if not news:
        raise _wrong("messages", "end with what is new: a message of the user or of a tool.")
    return news


def _read_message(index: int, message: ChatMessage) -> RecordedMessage:
    where = f"messages.{index}"
    calls = tuple(
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in message.tool_calls or ()
    )
    if message.role == "tool" and message.tool_call_id is None:
        raise _wrong(f"{where}.tool_call_id", "say which call this is the result of.")
    if message.content is None and not (message.role == "assistant" and calls):
        raise _wrong(f"{where}.content", "say something; there is none.")
    content = "" if message.content is None else message.content
    return RecordedMessage(
        role="system" if message.role == "developer" else message.role,
        content=_text(content),
        parts=_parts(content),
        tool_calls=calls if message.role == "assistant" else (),
        tool_call_id=message.tool_call_id if message.role == "tool" else None,
    )


def read_items(given: str | Sequence[InputItem], where: str) -> list[RecordedMessage]:
    """The messages that a response's input stands for; calls join the reply before them.

    Raises:
        Problem: invalid-body.
    """
    if isinstance(given, str):
        return [RecordedMessage(role="user", content=given)]
    messages: list[RecordedMessage] = []
    for index, item in enumerate(given):
        at = f"{where}.{index}"
        match item.type:
            case "message":
                if item.role is None or item.content is None:
                    raise _wrong(at, "a message has a role and content.")
                role = "system" if item.role == "developer" else item.role
                content = item.content
                messages.append(
                    RecordedMessage(role=role, content=_text(content), parts=_parts(content))
                )
            case "function_call":
                if item.call_id is None or item.name is None:
                    raise _wrong(at, "a function_call has a call_id and a name.")
                call = ToolCall(
                    id=item.call_id, name=item.name, arguments=item.arguments or "{}"
                )
                messages = _with_call(messages, call)
            case "function_call_output":
                if item.call_id is None or item.output is None:
                    raise _wrong(at, "a function_call_output has a call_id and output.")
                messages.append(
                    RecordedMessage(
                        role="tool", content=_text(item.output), tool_call_id=item.call_id
                    )
                )
            case "reasoning":
                pass
    if not messages:
        raise _wrong(where, "there is nothing in it to answer.")
    return messages


def _with_call(messages: list[RecordedMessage], call: ToolCall) -> list[RecordedMessage]:
    last = messages[-1] if messages else None
    if last is None or last.role != "assistant":
        last, before = RecordedMessage(role="assistant", content=""), messages
    else:
        before = messages[:-1]
    return [*before, last.model_copy(update={"tool_calls": (*last.tool_calls, call)})]


def marked(
    messages: Iterable[RecordedMessage], request: str, note: JsonValue
) -> tuple[RecordedMessage, ...]:
    """The messages, each with its request's number; the last keeps what else was asked."""
    made = [
        message.model_copy(update={"client_message_id": message_mark(request, index)})
        for index, message in enumerate(messages)
    ]
    made[-1] = made[-1].model_copy(update={"metadata": {"openai": note}})
    return tuple(made)


def read_tools(tools: Sequence[ChatTool | ResponseTool] | None) -> tuple[ClientTool, ...]:
    """The client's tools; of two with one name the last counts."""
    functions = [tool.function if isinstance(tool, ChatTool) else tool for tool in tools or ()]
    by_name = {
        function.name: ClientTool(
            name=function.name,
            description=function.description or "",
            parameters=function.parameters or {"type": "object", "properties": {}},
            strict=function.strict,
        )
        for function in functions
    }
    return tuple(by_name.values())


def _text(content: Content | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    texts = (part.refusal if part.type == "refusal" else part.text for part in content)
    return "\n".join(text for text in texts if text)


def _parts(content: Content) -> tuple[dict[str, JsonValue], ...]:
    """The typed parts, where there is more than text."""
    if isinstance(content, str) or all(part.image_url is None for part in content):
        return ()
    return tuple(map(_part, content))


def _part(part: ContentPart) -> dict[str, JsonValue]:
    if part.image_url is None:
        return {"type": "text", "text": part.text or part.refusal or ""}
    if isinstance(part.image_url, ImageUrl):
        image: dict[str, JsonValue] = {
            "url": part.image_url.url,
            "detail": part.image_url.detail,
        }
    else:
        image = {"url": part.image_url, "detail": part.detail or "auto"}
    return {"type": "image_url", "image_url": image}


def _wrong(param: str, detail: str) -> Problem:
    return Problem("invalid-body", f"{param}: {detail}", {"param": param})


# What goes out


def items_of(messages: Iterable[Message]) -> list[Item]:
    """The items that messages are: a reply and each of its calls are items of their own.

    No two have the same id: pages begin behind one. Clients may bring calls of other servers,
    some of which count from `call_0` in every reply.
    """
    items: list[Item] = []
    called: set[str] = set()
    for message in messages:
        if message.role == "tool":
            items.append(
                {
                    "id": f"fco_{hexed(message.id)}",
                    "type": "function_call_output",
                    "call_id": message.tool_call_id,
                    "output": message.content,
                    "status": "completed",
                }
            )
            continue
        if message.role != "assistant":
            items.append(_said(message))
        elif message.content:
            items.append(text_item(message.id, message.content))
        for index, call in enumerate(message.tool_calls):
            item = call_item(call)
            if call.id in called:
                item["id"] = f"fc_{hexed(message.id)}_{index}"
            called.add(call.id)
            items.append(item)
    return items


def _said(message: Message) -> Item:
    content: list[JsonValue] = [
        {"type": "input_image", "image_url": url, "detail": detail}
        for url, detail in _images(message.parts)
    ]
    if message.content:
        content.insert(0, {"type": "input_text", "text": message.content})
    return {
        "id": f"msg_{hexed(message.id)}",
        "type": "message",
        "status": "completed",
        "role": message.role,
        "content": content,
    }


def _images(parts: Iterable[Mapping[str, JsonValue]]) -> Iterator[tuple[str, str]]:
    """Address and detail of each image that has an address; native clients send any parts."""
    for part in parts:
        match part:
            case {
                "type": "image_url",
                "image_url": {"url": str(url), "detail": "low" | "high" | "original" as detail},
            }:
                yield url, detail
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                yield url, "auto"
            case _:
                pass


def text_item(message_id: str, text: str, status: str = "completed") -> Item:
    """The item that a reply's text is."""
    return {
        "id": f"msg_{hexed(message_id)}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [text_part(text)],
    }


def text_part(text: str) -> Item:
    """The one part of a reply's text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def call_item(call: ToolCall) -> Item:
    """The item that a tool call is."""
    return {
        "id": f"fc_{call.id}",
        "type": "function_call",
        "status": "completed",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }
