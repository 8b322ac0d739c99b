// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The server: listens on a socket that QEMU's `vfio-user-pci` connects to.

fn main() {}
