//! The real program on real files, loop devices, a block device in memory, and a file system that fails as told.

mod devices;
mod faults;
mod file_systems;
mod files;
mod fuse;
mod interrupted;
mod misbehaving;
mod places;
mod races;
mod refused;
mod ring;
mod samples;
mod support;
