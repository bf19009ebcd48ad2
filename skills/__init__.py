"""Agent Skills: folders with a `SKILL.md`, read, checked and offered to the planner."""

__all__: list[str] = []
