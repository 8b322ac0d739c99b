// SPDX-License-Identifier: GPL-2.0 OR MIT

//! BAR 0: the init segment, and the UAR pages with their doorbells.
//!
//! Layouts are those of `struct mlx5_init_seg` in the kernel's `include/linux/mlx5/device.h`.

use crate::cmd;
use crate::device::Device;
use crate::objects::{Handle, Kind};

pub const SIZE: u64 = 32 << 20;
const PAGE: u64 = 4096;

/// `initializing`, and all registers before it.
mod reg {
    pub const FW_REV: u64 = 0x00;
    pub const CMDIF_REV: u64 = 0x04;
    pub const CMDQ_ADDR_HIGH: u64 = 0x10;
    pub const CMDQ_ADDR_LOW: u64 = 0x14;
    pub const CMD_DOORBELL: u64 = 0x18;
    pub const HEALTH_FW_VER: u64 = 0x230;
    pub const TIMER_HIGH: u64 = 0x1000;
    pub const TIMER_LOW: u64 = 0x1004;
    pub const HEALTH_COUNTER: u64 = 0x1010;
}

/// What the model says its firmware is: major, minor, sub-minor.
const FIRMWARE: [u32; 3] = [22, 99, 1];
const CMDIF_REVISION: u32 = 5;

/// Doorbells in a UAR page.
mod doorbell {
    pub const CQ_ARM: u64 = 0x20;
    pub const EQ_ARM: u64 = 0x40;
    pub const EQ: u64 = 0x48;
    /// The first of the BlueFlame registers.
    pub const BLUEFLAME: u64 = 0x800;
}

/// Reads `data.len()` bytes; what is not there reads as zeros.
pub fn read(dev: &Device, offset: u64, data: &mut [u8]) {
    for (n, byte) in data.iter_mut().enumerate() {
        let at = offset.saturating_add(n as u64);
        let word = register(dev, at & !3).to_be_bytes();
        *byte = word[(at & 3) as usize];
    }
}

fn register(dev: &Device, offset: u64) -> u32 {
    match offset {
        reg::FW_REV => (FIRMWARE[1] << 16) | FIRMWARE[0],
        reg::CMDIF_REV => (CMDIF_REVISION << 16) | FIRMWARE[2],
        reg::CMDQ_ADDR_LOW => (dev.nic_interface << 8) | (cmd::LOG_ENTRIES << 4) | cmd::LOG_STRIDE,
        reg::HEALTH_FW_VER => (FIRMWARE[0] << 28) | (FIRMWARE[1] << 16) | FIRMWARE[2],
        reg::TIMER_HIGH => (dev.timer() >> 32) as u32,
        reg::TIMER_LOW => dev.timer() as u32,
        // Ten times a second.
        reg::HEALTH_COUNTER => (dev.timer() / 100_000_000) as u32,
        _ => 0,
    }
}

pub fn write(dev: &mut Device, offset: u64, data: &[u8]) {
    let Some(word) = data.first_chunk().map(|b| u32::from_be_bytes(*b)) else {
        dev.strict
            .violation(format_args!("a write of {} bytes to BAR 0 at {offset:#x}", data.len()));
        return;
    };
    if offset >= 0x10 * PAGE {
        return uar(dev, (offset / PAGE) as u32, offset % PAGE, word, data.get(4..8));
    }
    match offset {
        reg::CMDQ_ADDR_HIGH => dev.cmdq.set_address_high(word),
        reg::CMDQ_ADDR_LOW => {
            dev.cmdq.set_address_low(word);
            dev.set_nic_interface((word >> 8) & 7);
        }
        reg::CMD_DOORBELL => dev.command_doorbell(word),
        _ => dev
            .strict
            .violation(format_args!("a write of {word:#x} to the init segment at {offset:#x}")),
    }
}

/// A write to a UAR page. Doorbells of CQs and SQs have a second word.
fn uar(dev: &mut Device, page: u32, offset: u64, word: u32, second: Option<&[u8]>) {
    // The driver needs time to notice that the firmware has died.
    if dev.is_dead() {
        return;
    }
    if !dev.objects.exists(Handle(Kind::Uar, page)) {
        dev.strict.violation(format_args!("a doorbell in UAR {page:#x}, which is not allocated"));
        return;
    }
    let second = second.and_then(|b| b.first_chunk()).map(|b| u32::from_be_bytes(*b));
    match (offset, second) {
        (doorbell::CQ_ARM, Some(cqn)) => {
            dev.cqs.arm(&dev.mem, &mut dev.eqs, &mut dev.strict, page, cqn & 0xff_ffff, word);
        }
        (doorbell::EQ_ARM | doorbell::EQ, None) => {
            let arm = offset == doorbell::EQ_ARM;
            dev.eqs.doorbell(&mut dev.strict, page, word >> 24, word & 0xff_ffff, arm);
        }
        // A control segment's first words.
        (doorbell::BLUEFLAME.., Some(sqn_ds)) if offset % 0x100 == 0 => {
            dev.sq_doorbell(page, sqn_ds >> 8)
        }
        _ => dev.strict.violation(format_args!("no doorbell is at {offset:#x} of a UAR")),
    }
}
