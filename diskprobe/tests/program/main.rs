//! The real program on real files, loop devices and a block device in memory.

mod devices;
mod faults;
mod files;
mod ring;
mod support;
