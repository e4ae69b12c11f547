"""What should be known of the search, and what to do next?"""

from __future__ import annotations

from dashboards.blocks import Column, Empty, Prose, Table
from dashboards.data.searched import search_of
from dashboards.data.study import StudyFacts, StudyView
from dashboards.questions.panel import Block, Panel
from evolve.findings import RULES, findings_of
from evolve.findings.search import Finding
from evolve.formatting import counted

Found = tuple[StudyFacts, int, tuple[Finding, ...]]  # of that study, of so many trials


def rows(view: StudyView) -> Found | Empty:
    """Everything that the rules find in the study."""
    search = search_of(view)
    if isinstance(search, Empty):
        return search
    if not search.trained and not search.diverged:
        return Empty("No trial has ended yet, so there is nothing to find.")
    return view.facts, len(search.trained) + len(search.diverged), findings_of(search)


def _blocks(data: Found) -> tuple[Block, ...]:
    facts, count, found = data
    if not found:
        said = f"None of {len(RULES)} rules has anything to say about the {counted(count, 'trial')}"
        return (Prose(f"{said} that trained through or diverged."),)
    columns = (
        Column(title="finding"),
        Column(title="what was found", is_long=True),
        Column(title="what to do next", is_long=True),
    )
    lines = tuple((finding.key, finding.text, facts.as_typed(finding.next_command(facts.name))) for finding in found)
    return (Table(name="findings", columns=columns, rows=lines),)


PANEL = Panel(
    key="findings",
    title="What should be known of the search, and what to do next?",
    caption="Rules over all trials, silent where they cannot be sure. Each command can be typed as it stands; "
    "`evolve follow` writes the study that follows a finding to a file.",
    rows=rows,
    blocks=_blocks,
)
