"""The keys of a brief, in the order a person writes them, each with what it means in one line."""

from __future__ import annotations

KEYS = {
    "use_case": "a name for the problem",
    "task": "binary, multiclass, regression or forecast; left out, the label decides",
    "model": "auto, or one kind of model, such as xgboost",
    "target": 'what must be reached: "roc_auc >= 0.80", "99% recall on defects", or a list of these',
    "metric": "what to optimise; left out, the first target's metric or the task's usual one",
    "latency": 'the time one answer may take: "p99 < 100 ms"',
    "size": 'how large the model\'s file may be: "20 MB"',
    "requests_per_day": 'the load to serve: a number, or "10M daily requests", "120 per second"',
    "framework": "the library the team works with",
    "infrastructure": "where it will run, such as kubernetes",
    "data.path": "CSV, Parquet or Arrow file, relative to this file",
    "data.label": "the column to predict",
    "data.group": "the entity that repeats (patient, customer; a forecast's series): never on both sides of a split",
    "data.time": "when a row was known: what is tested comes after what is learnt",
    "data.sensitive": "columns to compare people by",
    "data.drop": "columns no model may read, such as those known only after the outcome",
    "data.keep": "columns every model gets although a finding doubts them: known at prediction time",
    "data.weight": "column of sample weights",
    "data.positive": "the positive class of a label with two",
    "data.class_weights": "what rows of a class weigh in fits: {fraud: 5}, or balanced; probabilities stay true",
    "data.types": "types that were inferred wrongly: {zip: category}; number, category, boolean, date, text or id",
    "data.monotone": "how the answer may move with a number: {age: increasing}; increasing or decreasing",
    "data.minimum": "the least value allowed of numbers and dates: {age: 0}; rows below it are refused",
    "data.maximum": "the largest value allowed of numbers and dates: {age: 120}; rows above it are refused",
    "data.levels": "the only levels allowed of categories: {sex: [F, M]}; rows with another are refused",
    "rule": 'what decides today, such as "prior_visits > 2": a baseline, and the fallback',
    "fallback": "what a server answers with when the model cannot, in order: cached, previous, rule; [] for none",
    "presets": "fast, balanced or best: settles budget, folds and networks where this file does not",
    "budget.seconds": "wall clock of the whole run, documents included",
    "budget.trials": "trials of the search; left out, the seconds decide",
    "budget.memory": "gigabytes a run may take; left out, what is free when the table is read",
    "validation.strategy": "auto, random, stratified, group, time, group_time or rolling",
    "validation.folds": "parts of the development rows, each scored by a model that has not seen it",
    "validation.test_fraction": "share of rows never seen in development, 0 for none; left out, 10 to 20 %",
    "validation.gap": "days between what is learnt and what is tested",
    "forecast.horizon": "how many observations ahead",
    "forecast.season": "observations in one season; left out, the data say",
    "log.hash": "columns the prediction log holds hashed alone, so that equal values still join",
    "log.drop": "columns the prediction log leaves out",
    "seed": "every random choice derives from it",
}
SECTIONS = ("data", "budget", "validation", "forecast", "log")


def keys_of(section: str = "") -> tuple[str, ...]:
    """Return the keys of a section, or with none the keys of the whole brief, sections among them."""
    if section:
        return tuple(k.partition(".")[2] for k in KEYS if k.startswith(f"{section}."))
    return tuple(dict.fromkeys(k.partition(".")[0] for k in KEYS))
