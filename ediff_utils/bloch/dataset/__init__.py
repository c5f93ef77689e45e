"""Patterns of many crystals as files: simulated, continued, read and checked."""
