"""Workflows written with monolite: what a program that uses the library looks like."""
