//! visualizer
