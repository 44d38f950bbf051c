"""Train: build/C/experiments/E.json, folds, features or images -> models/C/E/fold<k>.*, oof/C/E/{run.json,oof,test}.

`oof.parquet` and `test.parquet`: column id, then one float32 probability a label; every id once. Of a model that
explains itself also `contributions.parquet`: out of fold (both, no_caption, no_image) and for the test rows. What is
current is left as it is, so the stage also serves a new test set alone.
"""

import numpy as np

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.contributions import BOTH, modality_shares, read_contributions, write_contributions
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import read_provenance
from tandem.runtime.resources import peak_mb, versions
from tandem.training.fold_job import Job
from tandem.training.parallel_folds import fit_folds
from tandem.training.split_inputs import inputs_key


def add_arguments(parser) -> None:
    parser.add_argument("--exp", required=True, help="experiment: a file in configs/, without .toml")
    parser.add_argument("--fold", type=int, help="this fold alone, and no more")


def main(args) -> None:
    paths = Paths(args.comp)
    job = Job(paths, args.exp)
    if args.fold is not None and args.fold not in job.folds:
        raise ValueError(f"--fold {args.fold}: expected one of {job.folds}")
    fit_folds([job], job.folds if args.fold is None else [args.fold])
    if args.fold is not None:
        return
    oof, test = paths.oof(args.exp), paths.test(args.exp)
    explained = not job.experiment.explains or paths.contributions(args.exp).exists()
    if read_provenance(oof).get("key") != job.oof_key() or not explained:
        predictions, terms = job.out_of_fold(), job.out_of_fold_terms() if job.experiment.explains else {}
        if terms:
            parts = [(setting, job.rows.ids, part) for setting, part in terms.items()]
            write_contributions(paths.contributions(args.exp), job.rows.names, parts)
            test.unlink(missing_ok=True)  # its contributions were in that file
        write_json(paths.run(args.exp), _run(job, terms))
        predictions.write(oof)
    else:
        oof.touch()
    if not _has_test_inputs(job):
        return
    if job.test_is_current():
        test.touch()
    else:
        predictions, terms = job.predict_test()
        if terms is not None:
            file = paths.contributions(args.exp)
            parts = [part for part in read_contributions(file) if part[0] != "test"]
            write_contributions(file, job.rows.names, [*parts, ("test", predictions.ids, terms)])
        predictions.write(test)


def _run(job: Job, terms: dict[str, np.ndarray]) -> dict:
    files = [job.paths.model(job.name, k, ".safetensors") for k in job.folds]
    seconds = [read_json(job.paths.model(job.name, k, ".json"))["seconds"] for k in job.folds]
    return {
        "experiment": job.name,
        "competition": job.paths.comp,
        "config": job.experiment.model_dump(),
        "key": job.oof_key(),
        "folds": job.rows.fold_digest,
        "seconds": round(sum(seconds), 2),
        "seconds_per_fold": seconds,
        "peak_mb": peak_mb(),
        "model_mb": round(sum(f.stat().st_size for f in files) / 2**20, 2),
        **({"shares": modality_shares(job.rows.names, terms[BOTH])} if terms else {}),
        "versions": versions(),
    }


def _has_test_inputs(job: Job) -> bool:
    """False while test features are still to come: make calls again then."""
    if not job.paths.images("test").exists():
        return False
    slugs = [e.slug for e in job.experiment.encoders]
    return all(job.paths.features(slug, "test").exists() for slug in slugs) and bool(
        inputs_key(job.paths, job.experiment, "test")
    )
