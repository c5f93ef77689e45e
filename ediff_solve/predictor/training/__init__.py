"""Examples, trees and cards: how a predictor is made, and what is said of it."""
