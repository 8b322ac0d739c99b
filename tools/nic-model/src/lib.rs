// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A ConnectX-6 Dx/7 in software: what the mlx5 driver sees of the card, as a vfio-user device.
//!
//! README.md tells what is modelled and what is not.

#![deny(unsafe_code)]

pub mod bar;
pub mod caps;
pub mod cmd;
pub mod cq;
pub mod device;
pub mod eq;
pub mod faults;
pub mod ifc;
pub mod lso;
pub mod memory;
pub mod objects;
pub mod packet;
pub mod pci;
pub mod port;
pub mod ring;
pub mod rq;
pub mod rss;
mod rx;
pub mod sched;
pub mod server;
pub mod silicon;
pub mod spec;
pub mod sq;
pub mod steering;
pub mod strict;
pub mod tis;
pub mod tls;
mod tune;
mod tx;
pub mod verify;
pub mod wire;
pub mod work;
pub mod wq;
pub mod wqe;

/// Where the kernel's interface headers are: in $MLX5_IFC, in the project's cache, or with the headers of the kernel
/// that runs.
pub fn default_ifc_folder() -> Option<std::path::PathBuf> {
    use std::path::PathBuf;
    let env = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(folder) = env("MLX5_IFC") {
        return Some(folder);
    }
    let cache = env("HOMA_CACHE").or_else(|| env("HOME").map(|home| home.join(".cache/homa")));
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let modules = PathBuf::from("/lib/modules").join(release.trim());
    [
        cache.map(|c| c.join("kernel/source")),
        Some(modules.join("source")),
        Some(modules.join("build")),
    ]
    .into_iter()
    .flatten()
    .map(|tree| tree.join("include/linux/mlx5"))
    .find(|folder| folder.join("mlx5_ifc.h").exists())
}
