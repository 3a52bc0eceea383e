"""Pictures and files in either format: OpenAI names them by (data) URLs, Anthropic by sources."""

import base64
import binascii

from gateway.dialects.dialect import BadRequest
from gateway.dialects.wire import Json

PDF = "application/pdf"


def picture_block(url: object, where: str) -> Json:
    """An OpenAI picture's URL as Anthropic's block."""
    if not isinstance(url, str):
        raise BadRequest(f"{where}: the picture has no URL")
    if url.startswith("data:"):
        media_type, data = _data_url(url, where)
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
    return {"type": "image", "source": {"type": "url", "url": url}}


def file_block(file: object, where: str) -> Json:
    """An OpenAI file as Anthropic's block."""
    if not isinstance(file, dict) or not isinstance(file.get("file_data"), str):
        raise BadRequest(f"{where}: a file by its id is known to one provider only; send it as `file_data`")
    given: str = file["file_data"]
    media_type, data = _data_url(given, where) if given.startswith("data:") else (PDF, given)
    if media_type.startswith("image/"):
        return picture_block(given, where)
    if media_type == PDF:
        source = {"type": "base64", "media_type": PDF, "data": data}
    elif media_type.startswith("text/") or media_type == "application/json":
        source = {"type": "text", "media_type": "text/plain", "data": _decoded(data, where)}
    else:
        raise BadRequest(f"{where}: files of type {media_type[:60]} cannot be sent to this model's provider")
    named = {"title": file["filename"]} if isinstance(file.get("filename"), str) else {}
    return {"type": "document", "source": source, **named}


def picture_url(block: Json, where: str) -> str:
    """Anthropic's picture as OpenAI's URL."""
    source = block.get("source")
    source = source if isinstance(source, dict) else {}
    if source.get("type") == "base64":
        return f"data:{source.get('media_type')};base64,{source.get('data')}"
    if source.get("type") == "url" and isinstance(source.get("url"), str):
        url: str = source["url"]
        return url
    raise BadRequest(f"{where}: a picture by its file id is known to one provider only; send its bytes or its URL")


def document_parts(block: Json, where: str) -> list[Json]:
    """Anthropic's document as OpenAI's parts."""
    source = block.get("source")
    source = source if isinstance(source, dict) else {}
    kind, content = source.get("type"), source.get("content")
    if kind == "base64":
        name = block.get("title") or "document.pdf"
        data = f"data:{source.get('media_type') or PDF};base64,{source.get('data')}"
        return [{"type": "file", "file": {"filename": name, "file_data": data}}]
    if kind == "text":
        return [{"type": "text", "text": str(source.get("data", ""))}]
    if kind == "content" and isinstance(content, str):
        return [{"type": "text", "text": content}]
    if kind == "content" and isinstance(content, list):
        return [_content_part(item, where) for item in content if isinstance(item, dict)]
    raise BadRequest(f"{where}: a document by URL or file id cannot be sent to this model's provider; send its bytes")


def _content_part(item: Json, where: str) -> Json:
    if item.get("type") == "image":
        return {"type": "image_url", "image_url": {"url": picture_url(item, where)}}
    return {"type": "text", "text": str(item.get("text", ""))}


def _data_url(url: str, where: str) -> tuple[str, str]:
    head, comma, data = url[len("data:") :].partition(",")
    media_type, *parameters = head.split(";")
    if not comma or "base64" not in parameters:
        raise BadRequest(f"{where}: a data URL must be in base64")
    return media_type or "text/plain", data


def _decoded(data: str, where: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise BadRequest(f"{where}: the file is no UTF-8 text in base64") from None
