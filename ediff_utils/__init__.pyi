# --- crystals in
from .crystals.crystal import Crystal as Crystal
from .crystals.sources import load_crystals as load_crystals
from .crystals.sources import prepare_crystals as prepare_crystals
from .crystals.symmetry import standardise as standardise

# --- spot patterns
from .bloch.dataset.reading import read_patterns as read_patterns
from .bloch.dataset.writing import simulate_dataset as simulate_dataset
from .bloch.orientations import grid_orientations as grid_orientations
from .bloch.orientations import lattice_fixed_orientation as lattice_fixed_orientation
from .bloch.orientations import random_orientations as random_orientations
from .bloch.simulation import SpotPattern as SpotPattern
from .bloch.simulation import simulate as simulate

# --- features, forests, answers
from .paper.aggregation import compute_aggregate as compute_aggregate
from .paper.evaluation import compute_accuracy as compute_accuracy
from .paper.evaluation import compute_confusion as compute_confusion
from .paper.evaluation import compute_lattice_errors as compute_lattice_errors
from .paper.feature_files import build_features as build_features
from .paper.feature_files import read_features as read_features
from .paper.features import compute_features as compute_features
from .paper.labels import make_split as make_split
from .paper.models import Hierarchy as Hierarchy
from .paper.models import load_hierarchy as load_hierarchy
from .paper.predictions import compute_aggregates as compute_aggregates
from .paper.predictions import compute_predictions as compute_predictions
from .paper.training import prepare_hierarchy as prepare_hierarchy

# --- Bragg lists of a scan, and its maps by the forests
from .paper.scan.bragg import BraggLists as BraggLists
from .paper.scan.maps import compute_scan_maps as compute_scan_maps

# --- a run: its files, its results beside the paper's, its figures
from .core.errors import UserError as UserError
from .core.paths import Run as Run
from .core.settings import CrystalSettings as CrystalSettings
from .core.settings import FeatureSettings as FeatureSettings
from .core.settings import ForestSettings as ForestSettings
from .core.settings import ScanSettings as ScanSettings
from .core.settings import SimulationSettings as SimulationSettings
from .figures.spots import plot_pattern as plot_pattern
from .figures.style import save_figure as save_figure
from .paper.comparison import comparison_table as comparison_table
from .paper.results import evaluate_run as evaluate_run
from .paper.results import read_results as read_results

__version__: str
