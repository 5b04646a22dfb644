"""Lightning's command line with a folder for every run and results at the end."""

import argparse
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins import CheckpointIO
from rich.console import Console

from recollect.training.arguments import Invocation
from recollect.training.callbacks import (
    PredictionWriter,
    RunRecord,
    complete_callbacks,
    screen_callbacks,
    tested_checkpoint,
)
from recollect.training.checkpoints import (
    AtomicCheckpointIO,
    check_package,
    check_task,
    command_of,
    load,
    package_of,
)
from recollect.training.data import DataModule
from recollect.training.errors import ArgumentError, CheckpointError, UserError
from recollect.training.loggers import finish
from recollect.training.parser_errors import summarize_error
from recollect.training.precision import is_slower_in_half
from recollect.training.results import (
    code_commit,
    count_parameters,
    describe_device,
    relative,
    show_results,
    training_seconds,
    write_results,
)
from recollect.training.run_folder import discard, fill, first_process, new_folder, stamp
from recollect.training.signals import Stopped
from recollect.training.task import Task
from recollect_cli.flags import flags
from recollect_cli.runs import domain

FOLDER_VARIABLE = "RECOLLECT_RUN_FOLDER"
"""Tells the processes that a run starts which folder it has."""


class RecollectCLI(LightningCLI):
    """Lightning's command line with a folder for every run.

    Args:
        program: The command's name.
        invocation: The resolved command line.
    """

    def __init__(self, program: str, invocation: Invocation) -> None:
        self.invocation = invocation
        self.command_line = [program, *invocation.line]
        self.commit = code_commit()  # before a training during which the code may change
        self.folder = Path()
        self.made = False
        self.dry = False
        self.callbacks: list[Callback] = []
        self.notes: list[str] = []
        self.resolved: dict[str, Any] = {}
        self.console = Console(stderr=invocation.command == "predict")
        base = str(files("recollect.training") / "configs" / "base.yaml")
        # An abbreviation that happens to be unambiguous would hide a typo; errors are reported by ``main``.
        strict = {"allow_abbrev": False, "exit_on_error": False}
        defaults = {invocation.command: {"default_config_files": [base], **strict}}
        try:
            super().__init__(
                Task,
                DataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                save_config_callback=None,  # RunRecord writes it, without what concerns this one command
                parser_kwargs={"prog": program, **strict, **defaults},
                args=invocation.args,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
            )
        except BaseException as error:
            if self.made and self.folder.is_dir():
                finish()
                discard(self.folder, isinstance(error, ArgumentError | Stopped))
            raise

    # --- parsing --------------------------------------------------------------------------------------------

    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        if subcommand != self.invocation.command:
            return self.init_parser()  # nothing is parsed with it; its arguments take a tenth of a second
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "predict":
            parser.add_argument(
                "--output",
                type=str | None,
                default=None,
                help="Where predictions go (.jsonl, .csv; - is standard output); the run folder by default.",
            )
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the given arguments, never ``sys.argv``."""
        try:
            self.config = parser.parse_args(args)
        except argparse.ArgumentError as error:
            raise ArgumentError(summarize_error(error.message)) from error

    def _parse_ckpt_path(self) -> None:
        """Do nothing: hyperparameters of a checkpoint never override flags or configs."""

    # --- instantiation --------------------------------------------------------------------------------------

    def before_instantiate_classes(self) -> None:
        """Keep the resolved config, choose the run folder and fill it in."""
        own = self.config[self.subcommand]
        self._check_package(str(own.model.class_path))
        parser = self._parser(self.subcommand)
        resolved = yaml.safe_load(parser.dump(own, skip_unset=False))
        self.resolved = {part: resolved[part] for part in ("seed_everything", "trainer", "model", "data")}
        self.dry = bool(own.trainer.get("fast_dev_run"))
        self.folder = self._choose_folder()
        for part in ("logger", "callbacks"):
            own.trainer[part] = fill(own.trainer.get(part), self.folder)

    def _check_package(self, task: str) -> None:
        """Raise if run, checkpoint or task belong to another package."""
        package, path = self.invocation.package, self.invocation.checkpoint
        if path is not None:
            check_package(load(path), package, path)
        if package_of(task) not in (None, package):
            other = command_of(task.partition(".")[0])
            raise CheckpointError(f"{task} is not a task of {command_of(package)}: use {other}")

    def _choose_folder(self) -> Path:
        run, root = self.invocation.run, self.invocation.root
        if self.dry:
            return run or root
        if not first_process():
            # The first process has chosen; where it could not tell us, only it writes files.
            return Path(os.environ.get(FOLDER_VARIABLE, root / "runs"))
        if run is None:
            folder = new_folder(
                root / "runs" / domain(self.invocation.package) / self.invocation.name, stamp()
            )
        else:
            folder = run if self.subcommand in ("fit", "predict") else new_folder(run, str(self.subcommand))
        self.made = folder != run
        os.environ[FOLDER_VARIABLE] = str(folder)
        return folder

    def instantiate_classes(self) -> None:
        """Create trainer, task and data, and restore the fitted state of the data."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            raise ArgumentError(summarize_error(str(error))) from error
        if self.invocation.checkpoint is not None:
            checkpoint = load(self.invocation.checkpoint)
            check_task(checkpoint, self.model, self.datamodule, self.invocation.checkpoint)
            self.datamodule.load_state_dict(checkpoint[type(self.datamodule).__qualname__])

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Create the trainer with the callbacks that every run has."""
        settings = self._get(self.config_init, "trainer")
        if self.dry:
            kwargs["enable_checkpointing"] = False
        saving = not self.dry and settings["enable_checkpointing"] is not False
        run = self.invocation.run or self.folder
        callbacks = complete_callbacks(list(settings["callbacks"] or []), run, saving, settings["max_time"])
        kwargs["max_time"] = None  # the timer among the callbacks minds it
        plugins = settings["plugins"] or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            plugins = [*plugins, AtomicCheckpointIO()]
        if is_slower_in_half(settings["precision"], settings["accelerator"]):
            kwargs["precision"] = "32-true"
            self.notes.append(
                f"this CPU has no instructions for bfloat16: precision 32-true in place of "
                f"{settings['precision']}, which would take several times as long"
            )
        if self.subcommand == "fit":
            callbacks.append(RunRecord(self.folder, self.resolved, self.invocation.package))
        if self.subcommand == "predict":
            output = self._get(self.config, "output")
            callbacks.append(PredictionWriter(output))
            kwargs["logger"] = False  # predictions are rows, not metrics
            if output == "-":
                kwargs["enable_progress_bar"] = False
        enabled = kwargs.get("enable_progress_bar", settings["enable_progress_bar"])
        callbacks = screen_callbacks(callbacks, enabled, settings["enable_model_summary"])
        self.callbacks = callbacks
        kwargs |= {"callbacks": callbacks, "plugins": plugins, "default_root_dir": self.folder}
        try:
            return super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, ImportError, TypeError, ValueError) as error:
            raise ArgumentError(f"{self._trainer_flags()}{error}") from error

    def _trainer_flags(self) -> str:
        """The given trainer flags, for errors: Lightning's messages name no flags."""
        given = [f"--{flag.name} {flag.value}" for flag in flags(self.invocation.args)]
        named = [flag for flag in given if flag.startswith("--trainer.")]
        return f"{', '.join(named)}: " if named else "trainer: "

    # --- commands -------------------------------------------------------------------------------------------

    def fit(self, **kwargs: Any) -> None:
        """Train, test the best checkpoint, and report the results."""
        try:
            self.trainer.fit(**kwargs)
        except MisconfigurationException as error:  # a checkpoint from beyond the last epoch, for instance
            raise ArgumentError(f"training cannot begin as configured: {error}") from error
        except ValueError as error:
            if "val_check_interval" not in str(error):  # Lightning checks it once the batches are counted
                raise
            raise ArgumentError(f"--trainer.{str(error).strip().replace('`', '')}") from error
        # Loading the best checkpoint for the test sets the timer to what it stood at there, on top.
        seconds = training_seconds(self.callbacks)
        best = tested_checkpoint(self.trainer)
        tested = self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=best, verbose=False)
        self._report(tested, best, seconds)

    def validate(self, **kwargs: Any) -> None:
        """Measure a checkpoint on the validation split."""
        self._report(
            self._required(self.trainer.validate(**{**kwargs, "verbose": False})), kwargs["ckpt_path"]
        )

    def test(self, **kwargs: Any) -> None:
        """Measure a checkpoint on the test split."""
        self._report(self._required(self.trainer.test(**{**kwargs, "verbose": False})), kwargs["ckpt_path"])

    def predict(self, **kwargs: Any) -> None:
        """Write predictions batch by batch."""
        self.trainer.predict(**{**kwargs, "return_predictions": False})
        writer = next(part for part in self.callbacks if isinstance(part, PredictionWriter))
        if self.trainer.is_global_zero and writer.path is not None:
            show_results(self.console, {}, [("predictions", str(writer.path))])

    def _required(self, measured: Sequence[Mapping[str, float]]) -> Sequence[Mapping[str, float]]:
        if not any(measured):
            split = {"validate": "validation", "test": "test"}[str(self.subcommand)]
            raise UserError(f"{type(self.datamodule).__name__} as configured has no {split} split")
        return measured

    def _report(
        self, measured: Sequence[Mapping[str, float]], checkpoint: str | None, seconds: float | None = None
    ) -> None:
        if not self.trainer.is_global_zero:
            return
        finish()  # what W&B says of its run comes before the results
        found = {name: value for part in measured for name, value in part.items()}
        metrics = dict(sorted(found.items(), key=lambda entry: entry[0].startswith("memory/")))
        notes = [*self.notes, *self.model.training_notes, *self.datamodule.notes, *self.model.notes]
        results = {
            "package": self.invocation.package,
            "command": self.subcommand,
            "command_line": self.command_line,
            "commit": self.commit,
            "metrics": metrics,
            "notes": notes,
            "seed": self._get(self.config, "seed_everything"),
            "device": describe_device(self.trainer),
            "seconds": round(training_seconds(self.callbacks) if seconds is None else seconds, 3),
            "parameters": count_parameters(self.model),
            "epochs": self.trainer.fit_loop.epoch_progress.current.completed,
            "steps": self.trainer.fit_loop.epoch_loop.global_step,
            "checkpoint": relative(checkpoint, self.invocation.run or self.folder),
            "config": self.resolved,
        }
        lines = [("note", note) for note in notes]
        if self.dry:
            lines.append(("results", "not written (fast_dev_run)"))
        else:
            write_results(self.folder / "results.json", results)
            lines.append(("run folder", str(self.folder)))
            if any((self.folder / "figures").glob("*.png")):
                lines.append(("figures", str(self.folder / "figures")))
        show_results(self.console, metrics, lines)
