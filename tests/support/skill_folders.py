"""Folders of skills for tests."""

from pathlib import Path

STANDARD = "---\nname: pdf\ndescription: Reads PDF files. Use it for forms.\n---\n\nOpen the file.\n"
SINGLE = "---\nid: mail.send\ntitle: Send mail\ndescription: Sends mail.\n---\n\nBe brief.\n"


def write_skill(root: Path, folder: str = "pdf", content: str | bytes = STANDARD, file: str = "SKILL.md") -> Path:
    """Write the file of a skill and return its folder."""
    path = root / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def skill(front: str, body: str = "Do it.") -> str:
    """Return the content of a file, with the name and description of `pdf` unless `front` has them."""
    front = front if "name:" in front else f"name: pdf\n{front}"
    front = front if "description:" in front else f"{front.rstrip()}\ndescription: Does it."
    return f"---\n{front.strip()}\n---\n{body}\n"
