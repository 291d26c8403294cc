"""A completion put to a chat model: the text around the cursor as a short conversation."""

from isthmus.core.messages import Chat, Infill, Message, Text

_RULES = (
    "You complete code at a cursor. The file is given with the cursor written as <cursor/>. "
    "Answer with exactly the text that belongs at the cursor and nothing else: no explanation, no "
    "Markdown fence, no repetition of what stands before or after the cursor. Keep the file's "
    "style and indentation. If nothing belongs there, answer with nothing."
)


def chat_of(infill: Infill) -> Chat:
    """The conversation that asks for the inserted text alone."""
    parts = [
        f'<{item.kind} name="{item.name}">\n{item.content}\n</{item.kind}>\n'
        for item in infill.context
    ]
    about = ", ".join(part for part in (infill.file_name, infill.language) if part)
    parts.append(f"File: {about}\n" if about else "")
    parts.append(f"{infill.prefix}<cursor/>{infill.suffix}")
    return Chat(
        (
            Message("system", (Text(_RULES),)),
            Message("user", (Text("".join(parts)),)),
        )
    )
