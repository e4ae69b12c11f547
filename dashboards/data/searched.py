"""A study as its findings are made of it: the search with its trials, and the losses of the best."""

from __future__ import annotations

from dashboards.blocks import Empty
from dashboards.data.resolved import study_of, typed_params
from dashboards.data.study import StudyView
from evolve.findings.search import Losses, Search, Tried
from evolve.outcome.verdict import Verdict
from evolve.storage.schema import TERMS

FILTERED = "Filters leave trials out, and findings are about all of them: clear the filters to see this."
_ENDED = tuple(verdict for verdict in Verdict if verdict is not Verdict.PAUSED)


def search_of(view: StudyView) -> Search | Empty:
    """The search that a view shows, or why nothing can be found in it."""
    if not view.left_out.empty:
        return Empty(FILTERED)
    study = study_of(view)
    if study is None:
        return Empty("This study was not made by evolve, so that nobody knows what it was to do.")
    if study.ablation is not None or not study.space:
        return Empty("This study searches nothing.")
    if study.pbt is not None:
        return Empty("Trials of a population are parts of trainings, and findings are about whole ones.")
    curves = {int(str(number)): tuple(rows["fitness"]) for number, rows in view.best_curves.groupby("number")}
    ended = view.trials[view.trials["verdict"].isin(_ENDED)][["number", "verdict", "fitness"]]
    values = view.params.to_dict("index")
    tried = [
        Tried(
            number=int(number),
            verdict=str(verdict),
            fitness=float(fitness),
            params=typed_params(study, values.get(number, {})),
            curve=curves.get(int(number), ()),
        )
        for number, verdict, fitness in ended.itertuples(index=False)
    ]
    known = [trial for trial in tried if trial.params.keys() == study.space.keys()]
    return Search(study=study, tried=known, losses=_losses(view))


def _losses(view: StudyView) -> dict[str, Losses]:
    """Terms of the best trial's loss."""
    if view.best is None:
        return {}
    rows = view.best_curves[view.best_curves["number"] == view.best["number"]]
    columns = {term: (f"train_{term}", f"loss_{term}") for term in TERMS}
    known = {term: names for term, names in columns.items() if rows[list(names)].notna().all(axis=None)}
    return {
        term: Losses(train=tuple(rows[train]), val=tuple(rows[loss]))
        for term, (train, loss) in known.items()
        if rows[loss].any()
    }
