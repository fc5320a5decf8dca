"""Classifiers: the plug-in Protocol, the built-in linear model and its rules-only stand-in, training and evaluation."""
