"""How good are predicted labels, and which rows show it? Scores with intervals, confusion, calibration, comparison.

Predictions and truths go side by side, a row each. Rows without a truth or a prediction are left out before, and
counted by whoever leaves them out. Figures are those of scikit-learn and scipy.
"""

from eval.classification.compare import compare_classifiers
from eval.classification.confusion import Confusion, confusion
from eval.classification.orders import Order, ordered
from eval.classification.regression import regression_scores
from eval.classification.reliability import Bin, reliability, tempered
from eval.classification.scores import ClassFigures, Scores, multi_scores, plain, single_scores
from eval.classification.threshold import ThresholdCurve, threshold_curve

__all__ = [
    "Bin",
    "ClassFigures",
    "Confusion",
    "Order",
    "Scores",
    "ThresholdCurve",
    "compare_classifiers",
    "confusion",
    "multi_scores",
    "ordered",
    "plain",
    "regression_scores",
    "reliability",
    "single_scores",
    "tempered",
    "threshold_curve",
]
