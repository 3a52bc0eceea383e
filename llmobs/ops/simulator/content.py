"""What a request's messages hold, in any of the formats: their words, their pictures."""

import msgspec

IMAGE_TOKENS = 85  # what OpenAI charges for a picture of low detail; here for any, in each format
IMAGE_KINDS = frozenset({"image", "image_url", "input_image"})


class Part(msgspec.Struct):
    """A content part or block: text, a picture, or a tool's result with content of its own."""

    type: str = ""
    text: str | None = None
    content: "str | list[Part] | None" = None


Content = str | list[Part] | None


class Message(msgspec.Struct):
    content: Content = None
    role: str = ""


def text_of(content: Content) -> str:
    """All of its text; parts are joined by line ends."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text or "" if part.content is None else text_of(part.content) for part in content)


def tokens_of(content: Content) -> int:
    """One for each word, `IMAGE_TOKENS` for each picture."""
    words = len(text_of(content).split())
    return words if content is None or isinstance(content, str) else words + IMAGE_TOKENS * _images(content)


def has_result(content: Content) -> bool:
    """Whether a tool's result is among the blocks."""
    return isinstance(content, list) and any(part.type == "tool_result" for part in content)


def _images(parts: list[Part]) -> int:
    inner = sum(_images(part.content) for part in parts if isinstance(part.content, list))
    return inner + sum(part.type in IMAGE_KINDS for part in parts)
