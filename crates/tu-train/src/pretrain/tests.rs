//! The objectives on a micro network.
