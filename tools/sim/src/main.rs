// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The command; see `homa-sim --help`.

fn main() {
    println!("homa-sim");
}
