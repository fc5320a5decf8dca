"""Kubernetes manifests: render, generate, check (`python -m tools.k8s --help`)."""
