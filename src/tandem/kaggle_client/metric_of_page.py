"""The metric that a competition's page names, as one of ours."""

import re
from typing import Any

# as they are written without spaces, hyphens and brackets, with F1 for any F
NAMES = {
    "f1_samples": ["meanf1", "meanf1score", "f1scoresamples", "samplesf1score", "samplesf1", "exampleaveragedf1score"],
    "f1_micro": ["microf1", "microf1score", "f1scoremicro", "microaveragedf1", "microaveragedf1score"],
    "f1_macro": ["macrof1", "macrof1score", "f1scoremacro", "macroaveragedf1", "macroaveragedf1score"],
    "jaccard_samples": ["meanjaccardindex", "meanjaccardscore", "meanjaccardsimilarity", "jaccardscoresamples"],
    "accuracy_exact": ["subsetaccuracy", "exactmatchratio", "exactmatch", "categorizationaccuracy"],
    "hamming": ["hammingloss"],
    "auc_macro": ["meancolumnwiseareaunderreceiveroperatingcharacteristiccurve", "meancolumnwiserocauc", "mcauc"]
    + ["meancolumnwiseareaundertheroccurve", "meancolumnwiseauc", "macroauc", "macroaveragedrocauc", "macrorocauc"],
    "map_macro": ["meancolumnwiseaverageprecision", "macroaverageprecision", "macromap", "macroaveragedmap"],
    "map_samples": ["labelrankingaverageprecision", "lrap"],
    "log_loss": ["meancolumnwiselogloss", "columnwiselogloss", "mclogloss"],
}


def metric_of_page(text: str) -> dict[str, Any]:
    """{key of competition.toml: value}; empty where it is none of ours.

    >>> metric_of_page("Mean F1-Score"), metric_of_page("F-Score Beta (Micro)"), metric_of_page("Macro F2 Score")
    ({'metric': 'f1_samples'}, {'metric': 'f1_micro'}, {'metric': 'f1_macro', 'beta': 2.0})
    >>> metric_of_page("Quadratic Weighted Kappa")
    {}
    """
    plain = re.sub(r"[^a-z0-9.]", "", text.lower())
    plain = re.sub(r"\bcustom|beta", "", plain)
    beta = re.search(r"f(\d(?:\.\d+)?)(?=score|$|\D)", plain)
    plain = re.sub(r"f(?:\d(?:\.\d+)?)?(?=score)|f\d(?:\.\d+)?$", "f1", plain)
    found = next((metric for metric, names in NAMES.items() if plain in names), None)
    if found is None:
        return {}
    other = float(beta[1]) if beta else 1.0
    return {"metric": found} | ({"beta": other} if found.startswith("f1_") and other != 1.0 else {})


def needs_beta(text: str) -> bool:
    """Whether the page says that there is a beta, and not which.

    >>> needs_beta("MeanFScoreBeta"), needs_beta("Mean F2-Score"), needs_beta("Mean F1-Score")
    (True, False, False)
    """
    return "beta" in text.lower() and not re.search(r"\d", text)
