# --- patterns as a detector shows them, and what the paper's forests say of them
from .detector.effects import apply_detector as apply_detector
from .detector.settings import DetectorSettings as DetectorSettings
from .forests.reliability import compute_reliability as compute_reliability

# --- detector frames in, Bragg lists out
from .frames.bragg import read_bragg_lists as read_bragg_lists
from .frames.detect import DetectionSettings as DetectionSettings
from .frames.detect import compute_detector as compute_detector
from .frames.detect import detect_spots as detect_spots
from .frames.counting.detection import SpotSettings as SpotSettings
from .frames.counting.series import SeriesSpots as SeriesSpots
from .frames.counting.series import find_spots as find_spots
from .frames.finding import find_in_files as find_in_files
from .frames.lists.reading import read_spot_list as read_spot_list
from .frames.pictures import Series as Series
from .frames.pictures import open_series as open_series
from .frames.spot_lists import SpotList as SpotList
from .frames.spot_lists import build_spot_list as build_spot_list
from .frames.powder import RingCalibration as RingCalibration
from .frames.powder import calibrate_rings as calibrate_rings
from .frames.powder import read_calibration as read_calibration
from .frames.reading import Frames as Frames
from .frames.reading import open_frames as open_frames
from .frames.stream import build_lists as build_lists
from .frames.stream import calibrate_scan as calibrate_scan
from .frames.stream import compute_looks as compute_looks
from .frames.stream import detect_scan as detect_scan

# --- the lattice, from geometry alone
from .lattice import BravaisLattice as BravaisLattice
from .lattice import find_bravais as find_bravais
from .lattice import niggli_cell as niggli_cell
from .lattice import solve_pattern as solve_pattern
from .lattice import solve_patterns as solve_patterns

# --- the crystal
from .predictor.answering import Answer as Answer
from .predictor.answering import Predictor as Predictor
from .predictor.draws import Draws as Draws
from .predictor.known import match_known as match_known
from .predictor.known import read_known as read_known

# --- maps of a scan
from .scans.files import to_crystal_map as to_crystal_map
from .scans.files import write_crystal_maps as write_crystal_maps
from .scans.maps import compute_predictor_maps as compute_predictor_maps
from .scans.maps import compute_predictor_particles as compute_predictor_particles
from .scans.particles import segment_particles as segment_particles

# --- figures
from .figures.spots import figure_rings as figure_rings
from .figures.spots import figure_spots as figure_spots
from .figures.unknown import plot_answer as plot_answer
