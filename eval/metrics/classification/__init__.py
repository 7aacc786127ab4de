"""Accuracy, precision, recall, F1, MCC and calibration of predicted classes."""
