"""What class probabilities are worth: metrics and calibration."""
