"""Do the remedies of diagnoses cure?"""

from __future__ import annotations

from dashboards.blocks import Column, Empty, Prose, Table
from dashboards.data.study import StudyView
from dashboards.questions.diverged import diverged_trials, none_diverged
from dashboards.questions.panel import Panel
from evolve.outcome.cured import cured_share, is_cured, share_text
from evolve.outcome.explanations import causes_of, remedies_of


def rows(view: StudyView) -> tuple[Prose, Table] | Prose | Empty:
    """The share of diverged trials that their remedy cured, and what became of each that was trained again."""
    if diverged_trials(view.trials).empty:
        return none_diverged(view)
    cures = view.measured.frame("cures")
    if cures.empty:
        again = view.facts.as_typed(f"evolve cure {view.facts.name}")
        return Prose(f"No remedy has been tried. `{again}` trains each diverged trial again with its own.")
    share = share_text(*cured_share(cures["verdict"]))
    columns = (
        Column(title="trial", kind="number", digits=0),
        Column(title="likely cause", is_long=True),
        Column(title="changed", is_long=True),
        Column(title="then", kind="verdict"),
        Column(title="cured"),
        Column(title="fitness", kind="number"),
        Column(title="reason", is_long=True),
    )
    table_rows = []
    for row in cures.to_dict("records"):
        diagnosis = view.diagnoses.get(int(row["number"]), {})
        cause = next((explanation.cause.text for explanation in causes_of(diagnosis)), "")
        changed = ", ".join(remedy.setting for remedy in remedies_of(diagnosis))
        known = is_cured(row["verdict"])
        cured = "" if known is None else "yes" if known else "no"
        table_rows.append((int(row["number"]), cause, changed, row["verdict"], cured, row["fitness"], row["reason"]))
    table = Table(name="cured", columns=columns, rows=tuple(table_rows), is_sortable=True, links_to="trial")
    return Prose(f"Cured: {share} of the diverged trials that were trained again."), table


PANEL = Panel(
    key="cured",
    title="Do their remedies cure?",
    caption="Each diverged trial trained again with what its diagnosis says to change. Cured is what did not diverge; "
    "the interval is that of Clopper and Pearson. Trials whose remedies leave nothing that differs become one and the "
    "same training, and still count one by one: the interval is too narrow then.",
    rows=rows,
    is_optional=True,
)
