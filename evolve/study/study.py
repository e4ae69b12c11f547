"""A study: what is trained, what varies, how trials are chosen, stopped and judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from detector.hyperparameters import GENERATION, Hyperparameters, former_defaults, fuse_key, names
from detector.plan import LARGEST_SEED, TrainingPlan
from evolve.errors import DefinitionError, Problem, StudyError
from evolve.study.ablation import Ablation
from evolve.study.arms import ArmPlan, arm_plan
from evolve.study.deciding import decided, with_values_of_arms
from evolve.study.definition import (
    LONGEST_NAME,
    Budget,
    Definition,
    Fitness,
    Flag,
    Number,
    Thresholds,
    Warnings,
    Whole,
    flat,
    problems_of,
)
from evolve.study.fields import (
    fixed_values,
    frozen_layers,
    known_generation,
    later_values,
    later_written,
    training_seeds,
)
from evolve.study.methods import (
    FORESEEING,
    PrunerName,
    SamplerName,
    SchedulerName,
    check_sampler,
    check_scheduler,
)
from evolve.study.noise import Noise, crossed
from evolve.study.population import NAME, Pbt, PopulationPlan, problems_of_population
from evolve.study.screening import SCREENING, ScreeningPlan, problems_of_screening, screening_plan
from evolve.study.space import MAX_POINTS, OF_PLAN, Scalar, Space, nominal_batch_size
from evolve.study.trial import plan_of_trial

DIGITS = ("digits-1", "digits-3", "digits-10")
Later = dict[int, dict[str, Scalar]]


class Study(Definition):
    """Everything that defines a study, defaults filled in.

    Attributes:
        name: Name of the study, of letters, digits, _ and -; that of the file by default.
        description: What the study is to find out.
        data: What is trained on: digits-1, digits-3, digits-10 (made on the fly), or a path, relative to the working
            directory.
        skip_unreadable: Whether images that cannot be read are left out rather than stop the study.
        model, image_size, batch_size, nominal_batch_size, epochs, precision, nms_iou: As the attributes of
            `TrainingPlan` that have these names.
        weights, weights_sha256, freeze: As the attributes of `TrainingPlan` that have these names; the path of the
            weights is relative to the working directory.
        fixed: Hyperparameters that differ from the detector's defaults; written as `hyperparameters`.
        from_epoch: Hyperparameters that change while a training is under way, by the epoch from which on they do.
        space: Hyperparameters that vary, and `batch_size` and `nominal_batch_size` if they do; where the first does and
            the second is not named at all, the weights are updated after each batch.
        sampler: Name of the sampler, which chooses the parameters of trials.
        warm_start: Stored studies, by name, and files of results, whose trials the sampler knows before trial 0.
        pruner: Name of the pruner, which finds hopeless trials while they train; `none` for no pruner.
        scheduler: Name of a scheduler of Ray Tune's that stops trials in place of the pruner, `none` for no scheduler;
            with one, the engine must be Ray's.
        budget: What the study may spend.
        seeds: Training seeds; each trial is trained once with each of them.
        seed: Seed of the sampler.
        fitness: Weights of the metrics in the fitness, which is maximised.
        thresholds: Levels at which a verdict turns into another.
        warnings: Levels at which steps warn that a training is going to be lost; some pruners stop it by them.
        ablation: What is compared, where the study compares arms; space, sampler and trials follow from it then.
        noise: What equal trainings are crossed over, where the study measures noise; it decides trials and seeds then.
        pbt: How members of a population learn from each other, where the sampler is pbt.
        baseline: Whether trial 0 is the fixed hyperparameters, or defaults, themselves.
        inspect: Whether it is recorded what the layers of each network hold, which decides nothing.
        critical: Whether it is measured at a few steps how much larger an update could be before it raises the loss.
        keep_weights: Whether the weights of all trials are kept or those of the best alone.
        decisions: Why a value is what it is, by key, where it was chosen from the data.
        defaults: Generation of the detector's defaults, which a study that was begun under an earlier one keeps.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=LONGEST_NAME)
    description: str = ""
    data: str = Field(default="digits-1", min_length=1)
    skip_unreadable: Flag = False
    model: str = "yolov3-tiny-compact"
    image_size: Whole = 64
    batch_size: Whole = 16
    nominal_batch_size: Whole = 16
    epochs: Whole = 10
    precision: str = "float32"
    nms_iou: Number = 0.45
    weights: str = ""
    weights_sha256: str = ""
    freeze: Annotated[int | str, PlainValidator(frozen_layers)] = "none"
    fixed: Annotated[dict[str, Scalar], PlainValidator(fixed_values)] = Field(default={}, alias="hyperparameters")
    from_epoch: Annotated[Later, PlainValidator(later_values), PlainSerializer(later_written)] = Field(default={})
    space: Annotated[Space, PlainValidator(Space.from_mapping), PlainSerializer(Space.to_mapping)]
    sampler: SamplerName = "tpe"
    warm_start: tuple[str, ...] = ()
    pruner: PrunerName = "none"
    scheduler: SchedulerName = "none"
    budget: Budget
    seeds: Annotated[tuple[Whole, ...], AfterValidator(training_seeds)] = (0,)
    seed: Whole = Field(default=0, ge=0, le=LARGEST_SEED)
    fitness: Fitness = Fitness()
    thresholds: Thresholds = Thresholds()
    warnings: Warnings = Warnings()
    ablation: Ablation | None = None
    noise: Noise | None = None
    pbt: Pbt | None = None
    baseline: Flag = False
    inspect: Flag = False
    critical: Flag = False
    keep_weights: Literal["best", "all"] = "best"
    decisions: dict[str, str] = Field(default={})
    defaults: Annotated[Whole, AfterValidator(known_generation)] = GENERATION

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, raw: Any) -> Any:
        if isinstance(raw, Mapping) and raw.get("ablation") is not None:
            raw = decided(raw)
        if isinstance(raw, Mapping) and raw.get("noise") is not None:
            raw = crossed(raw)
        if isinstance(raw, Mapping) and raw.get("sampler") == NAME and raw.get(NAME) is None:
            raw = {**raw, NAME: {}}
        if isinstance(raw, Mapping) and raw.get("nominal_batch_size") is None:
            space = raw.get("space")
            varied = space if isinstance(space, Mapping) else ()
            return {**raw, "nominal_batch_size": nominal_batch_size(raw.get("batch_size"), varied)}
        return raw

    @field_validator("data")
    @classmethod
    def _check_data(cls, data: str) -> str:
        if data.startswith("digits-") and data not in DIGITS:
            raise ValueError(f"{data!r} is not one of {list(DIGITS)}; write ./{data} for a folder of that name")
        return data

    @field_validator("model", "image_size", "batch_size", "nominal_batch_size", "epochs", "precision", "nms_iou")
    @classmethod
    def _check_plan(cls, value: Any, info: ValidationInfo) -> Any:
        try:
            TrainingPlan(**{str(info.field_name): value})
        except ValueError as error:
            raise ValueError(str(error).removeprefix(f"{info.field_name}: ")) from None
        return value

    @model_validator(mode="after")
    def _check_space(self) -> Study:
        # One training with fixed values is a study of a single trial; more trials would all be the same one.
        if not self.space and self.budget.trials > 1 and self.noise is None:
            text = f"{{}} names no hyperparameter for {self.budget.trials} trials; known: {list(names())}"
            raise DefinitionError([Problem(path="space", text=text)])
        return self

    @model_validator(mode="after")
    def _check_start(self) -> Study:
        if self.freeze != "none" and not self.weights:
            text = f"{self.freeze!r} would keep what is random: weights names no file to start from"
            raise DefinitionError([Problem(path="freeze", text=text)])
        return self

    @model_validator(mode="after")
    def _check_sampler(self) -> Study:
        check_sampler(self.sampler, self.space, compares=self.ablation is not None, warm_starts=bool(self.warm_start))
        return self

    @model_validator(mode="after")
    def _check_population(self) -> Study:
        if self.pbt is None:
            problems = []
        elif self.sampler != NAME:
            text = f"is only looked at by the sampler {NAME!r}, and this one is {self.sampler!r}"
            problems = [Problem(path=NAME, text=text)]
        else:
            problems = [*problems_of_population({key: getattr(self, key) for key in _STOPPING}, self.space)]
        twice = {name for changed in self.from_epoch.values() for name in changed if name in self.space}
        problems += [Problem(path="from_epoch", text=f"{name} is searched as well") for name in sorted(twice)]
        if problems:
            raise DefinitionError(problems)
        return self

    @model_validator(mode="after")
    def _check_scheduler(self) -> Study:
        check_scheduler(self.scheduler, self.pruner)
        return self

    @model_validator(mode="after")
    def _check_grid(self) -> Study:
        if self.sampler == "grid" and (points := self.space.num_points(self.budget.trials)) > MAX_POINTS:
            text = f"a grid over {len(self.space)} hyperparameters has {points:,} points; allowed: {MAX_POINTS:,}"
            raise DefinitionError([Problem(path="space", text=f"{text}; take another sampler, or search over fewer")])
        return self

    @model_validator(mode="after")
    def _check_screening(self) -> Study:
        if self.sampler == SCREENING:
            stopper = self.pruner if self.scheduler == "none" else self.scheduler
            own, trials = self.baseline_params(), self.budget.trials
            if problems := [*problems_of_screening(self.space, own, trials=trials, pruner=stopper)]:
                raise DefinitionError(problems)
        return self

    @property
    def screening(self) -> ScreeningPlan | None:
        """Which changes are screened in how many trials; None where the study screens none."""
        if self.sampler != SCREENING:
            return None
        return screening_plan(self.space, self.baseline_params(), trials=self.budget.trials)

    @property
    def arm_plan(self) -> ArmPlan | None:
        """Which trial trains which arm; None where the study compares none, or its path's end is still open."""
        if self.ablation is None or self.ablation.is_open:
            return None
        unchanged = self.hyperparameters({})
        own = {name: getattr(self if name in OF_PLAN else unchanged, name) for name in (*names(), *OF_PLAN)}
        return arm_plan(self.ablation, own.__getitem__, is_known=False)

    @property
    def population(self) -> PopulationPlan | None:
        """Which trial trains which member of a population; None where the study trains none."""
        if self.pbt is None:
            return None
        return PopulationPlan(members=self.pbt.members, interval=self.pbt.interval, epochs=self.epochs)

    def seeds_of(self, number: int) -> tuple[int, ...]:
        """Seeds that a trial is trained with, by its number."""
        plan = self.arm_plan
        return self.seeds if plan is None else plan.seeds_of(number)

    def training_plan(self, device: str, seed: int) -> TrainingPlan:
        """What all lanes of a training with one of the seeds share."""
        return TrainingPlan(
            model=self.model,
            image_size=self.image_size,
            batch_size=self.batch_size,
            nominal_batch_size=self.nominal_batch_size,
            epochs=self.epochs,
            device=device,
            precision=self.precision,
            data_seed=seed,
            nms_iou=self.nms_iou,
            weights=self.weights,
            weights_sha256=self.weights_sha256,
            freeze=self.freeze,
        )

    def of_trial(self, params: Mapping[str, Scalar]) -> Study:
        """The study as one trial trains it: with the batch and the images between two updates that it searches."""
        return self.model_copy(update=plan_of_trial({key: getattr(self, key) for key in OF_PLAN}, params))

    def fuse_key(self, params: Mapping[str, Scalar]) -> Hashable:
        """A key that is equal for the parameters of trials that may be lanes of one training.

        Raises:
            ValueError: A parameter is not known or not allowed.
        """
        plan = self.of_trial(params)
        return (*fuse_key(self.hyperparameters(params)), plan.batch_size, plan.nominal_batch_size)

    def hyperparameters(self, params: Mapping[str, Scalar]) -> Hyperparameters:
        """The hyperparameters of a trial: its parameters, else the fixed ones, else the detector's defaults.

        What its parameters say of the plan is left out.

        Raises:
            ValueError: A parameter is not known or not allowed.
        """
        own = {name: value for name, value in params.items() if name not in OF_PLAN}
        return Hyperparameters.from_mapping({**former_defaults(self.defaults), **self.fixed, **own})

    def later_hyperparameters(self, params: Mapping[str, Scalar]) -> dict[int, Hyperparameters]:
        """All hyperparameters of a trial that take the place of the first, by the epoch from which on they do."""
        found: dict[int, Hyperparameters] = {}
        changed = dict(params)
        for epoch, values in self.from_epoch.items():
            changed |= values
            found[epoch] = self.hyperparameters(changed)
        return found

    def baseline_params(self) -> dict[str, Scalar]:
        """Parameters of the trial that changes nothing: fixed values, else defaults, of all that is searched."""
        unchanged = self.hyperparameters({})
        return {name: getattr(self if name in OF_PLAN else unchanged, name) for name in self.space}

    def grid(self) -> dict[str, list[Scalar]]:
        """Values of each parameter in a grid that fits the budget."""
        return self.space.grid(self.budget.trials)

    def differences(self, other: Study) -> list[str]:
        """Key paths in which two definitions differ, but for description, budget, recordings and reasons of decisions.

        The number of trials counts only where it decides the grid: there the same trial would be another point. A file
        of weights may lie elsewhere if it is the same. Warnings and critical ratios count where the pruner heeds them.
        """
        mine, others = flat(self.to_mapping()), flat(other.to_mapping())
        keys = [key for key in mine | others if mine.get(key) != others.get(key)]
        free = {"description", "budget", "inspect", "decisions"}
        free |= {"weights"} if self.weights_sha256 else set()
        free |= set() if self.pruner in FORESEEING else {"critical", "warnings"}
        differing = [key for key in keys if key.split(".")[0] not in free]
        if not differing and self.sampler == "grid" and self.grid() != other.grid():
            differing.append("budget.trials")
        return differing

    def to_mapping(self) -> dict[str, Any]:
        """The study as it may be written to YAML or JSON."""
        return self.model_dump(mode="json", by_alias=True)

    def to_json(self) -> str:
        """The study as JSON; `from_json` gives back an equal one."""
        return json.dumps(self.to_mapping())

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], *, origin: str) -> Study:
        """The study that a mapping describes, as YAML would.

        Args:
            mapping: Keys and values as a study's file has them.
            origin: Where the mapping is from, which begins the lines of an error.

        Raises:
            StudyError: The study is not allowed; names every problem.
        """
        return validated(dict(mapping), lambda problem: f"{origin}: {problem}")

    @classmethod
    def from_json(cls, text: str) -> Study:
        """The study that `to_json` wrote.

        Raises:
            StudyError: The study is not allowed; names every problem.
        """
        return validated(
            {"defaults": 1, **with_values_of_arms(json.loads(text))}, lambda problem: f"stored study: {problem}"
        )


def validated(raw: object, placed: Callable[[Problem], str]) -> Study:
    """The study that a mapping describes.

    Args:
        raw: Keys and values as a study's file has them.
        placed: Turns a problem into text that names the place where a person can put it right.

    Raises:
        StudyError: The study is not allowed; names every problem.
    """
    known = {name: list(model.model_fields) for name, model in _PARTS.items()}
    known[""] = [field.alias or name for name, field in Study.model_fields.items()]
    try:
        return Study.model_validate(raw)
    except ValidationError as error:
        problems = problems_of(error, known)
    raise StudyError("\n".join(placed(problem) for problem in problems))


_STOPPING = ("pruner", "scheduler", "warm_start")  # and what else does not go with a population
_PARTS: dict[str, type[Definition]] = {
    "budget": Budget,
    "fitness": Fitness,
    "thresholds": Thresholds,
    "warnings": Warnings,
    "pbt": Pbt,
}
