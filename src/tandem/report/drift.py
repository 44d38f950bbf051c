"""Adversarial validation: a classifier of training against test rows; a held-out AUC of 0.5 means no difference."""

import numpy as np
from scipy.sparse import csr_matrix, hstack, spmatrix

from tandem.data.caption_words import word_counts
from tandem.report.data_model import ReportData

ROWS = 16_000  # at most, the same share of both splits
FOLDS = 3
LISTED = 8  # words, and features, with the largest differences
COMPONENTS = 48  # principal ones of the image features, which are quick to fit
C = 0.1  # inverse regularisation strength of the logistic regressions


def drift(data: ReportData, seed: int = 0) -> dict | None:
    """{`separations` by each group of inputs: AUC, its standard error without drift, whether it differs from 0.5;
    `words` and `features` that differ most, `rows` used of each split}; None without test rows."""
    train, test = data.train, data.test
    if test is None or len(test.ids) < 2 * FOLDS or len(np.unique(data.group)) < 2 * FOLDS:
        return None
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(seed)
    share = min(1.0, ROWS / (len(train.ids) + len(test.ids)))
    a, b = (np.sort(rng.permutation(len(s.ids))[: max(2 * FOLDS, int(share * len(s.ids)))]) for s in (train, test))
    is_test = np.concatenate([np.zeros(len(a), bool), np.ones(len(b), bool)])
    # copies of a training row are in one fold, else they would tell train from test
    groups = np.unique(data.group[a], return_inverse=True)[1], np.arange(len(b))
    independent = [int(group.max()) + 1 for group in groups]
    fold = np.concatenate([(rng.permutation(n) % FOLDS)[g] for n, g in zip(independent, groups, strict=True)])
    texts = [train.captions[i] for i in a] + [test.captions[i] for i in b] if train.captions and test.captions else []
    numbers, names = _sizes_and_lengths(np.concatenate([train.sizes[a], test.sizes[b]]), texts)
    blocks, words = {"sizes and lengths": csr_matrix(_standardised(numbers))}, []
    features = _differing_features(numbers, names, is_test)
    if texts:
        blocks["caption words"], vocabulary, present = _words(texts)
        words = _differing_words(present, vocabulary, is_test)
    if data.features is not None:
        x = np.concatenate([data.features[0][a], data.features[1][b]]).astype(np.float32)
        names = [f"image feature {k}" for k in range(x.shape[1])]
        features += _differing_features(x, names, is_test)
        pca = PCA(min(COMPONENTS, *x.shape), svd_solver="randomized", random_state=seed, iterated_power=2)
        blocks["image features"] = csr_matrix(_standardised(pca.fit_transform(x)))
    error = float(np.sqrt((sum(independent) + 1) / (12 * np.prod(independent))))  # of the Mann-Whitney statistic
    if len(blocks) > 1:
        blocks = {"all inputs": csr_matrix(hstack(list(blocks.values())))} | blocks
    aucs = {name: _auc(x, is_test, fold) for name, x in blocks.items()}
    least = 0.5 + max(4 * error, 0.02)
    separations = [{"inputs": n, "auc": auc, "error": error, "drifts": auc > least} for n, auc in aucs.items()]
    return {"separations": separations, "words": words, "features": features, "rows": [len(a), len(b)]}


def _auc(x: csr_matrix, is_test: np.ndarray, fold: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import PredefinedSplit, cross_val_score

    model = LogisticRegression(C=C, class_weight="balanced", max_iter=200, tol=1e-3)
    # mean of the folds' AUCs: scores of different classifiers are not comparable
    return float(np.mean(cross_val_score(model, x, is_test, cv=PredefinedSplit(fold), scoring="roc_auc")))


def _sizes_and_lengths(sizes: np.ndarray, texts: list[str]) -> tuple[np.ndarray, list[str]]:
    """((n, d), names) of properties that do not depend on the content of image and caption."""
    columns: dict[str, np.ndarray] = {}
    if sizes.any():  # there are images
        width, height, size = np.maximum(sizes.astype(np.float64), 1).T
        columns |= {"width": width, "height": height, "log aspect": np.log(width / height)}
        columns["log bytes per pixel"] = np.log(size / (width * height))
    if texts:
        words = word_counts(texts).astype(float)
        columns["caption words"] = words
        columns["letters per caption word"] = np.array(list(map(len, texts))) / np.maximum(words, 1)
    return np.column_stack(list(columns.values())), list(columns)


def _words(texts: list[str]) -> tuple[csr_matrix, np.ndarray, spmatrix]:
    """(TF-IDF, vocabulary, 0/1 presence) of the words that at least 5 texts have (a twentieth, if they are few)."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    counter = CountVectorizer(binary=True, min_df=min(5, max(1, len(texts) // 20)), max_features=20_000)
    try:
        present = counter.fit_transform(texts)
    except ValueError:  # captions without a single word
        return csr_matrix((len(texts), 1)), np.array([""]), csr_matrix((len(texts), 1))
    return csr_matrix(TfidfTransformer().fit_transform(present)), counter.get_feature_names_out(), present


def _differing_words(present: spmatrix, vocabulary: np.ndarray, is_test: np.ndarray) -> list[dict]:
    """The words whose share of captions differs most, in standard errors."""
    sides = (~is_test).sum(), is_test.sum()
    train, test = (np.asarray(present[rows].sum(0)).ravel() for rows in (~is_test, is_test))
    p, q = train / sides[0], test / sides[1]
    mean = (train + test) / sum(sides)
    error = np.sqrt(np.maximum(mean * (1 - mean), 1e-9) * (1 / sides[0] + 1 / sides[1]))
    return [word for word in _largest(vocabulary.tolist(), p, q, (q - p) / error, LISTED) if word["name"]]


def _differing_features(x: np.ndarray, names: list[str], is_test: np.ndarray) -> list[dict]:
    """The features whose means differ most, in standard errors."""
    train, test = x[~is_test].astype(np.float64), x[is_test].astype(np.float64)
    error = np.sqrt(train.var(0) / len(train) + test.var(0) / len(test))
    z = (test.mean(0) - train.mean(0)) / np.maximum(error, 1e-9)
    return _largest(names, train.mean(0), test.mean(0), z, LISTED // 2)


def _largest(names: list[str], train: np.ndarray, test: np.ndarray, z: np.ndarray, most: int) -> list[dict]:
    """The `most` largest differences `z`, with the means (d,) that they are between."""
    best, table = np.argsort(-np.abs(z), kind="stable")[:most], np.column_stack([train, test, z]).tolist()
    return [dict(zip(("name", "train", "test", "difference"), (names[k], *table[k]), strict=True)) for k in best]


def _standardised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)
