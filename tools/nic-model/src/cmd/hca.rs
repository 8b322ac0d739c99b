// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The HCA as a whole: enabling, pages for the firmware, capabilities, and the end of it all.

use super::{CmdError, Input, Output, Status};
use crate::device::Device;
use crate::strict::note;

/// How many pages the firmware asks for when it boots, and when it is initialised. Real ones ask for some thousands;
/// these are enough to see that the driver keeps count.
const BOOT_PAGES: usize = 64;
const INIT_PAGES: usize = 128;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    #[default]
    Disabled,
    Enabled,
    Initialized,
}

/// What the firmware knows of itself.
#[derive(Debug, Default)]
pub struct Hca {
    pub state: State,
    pub issi: u32,
    /// Pages of the driver's that are the firmware's for now.
    pages: Vec<u64>,
    /// General capabilities as the driver has set them.
    current: Option<Vec<u8>>,
}

pub fn enable(dev: &mut Device, _: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    if dev.hca.state != State::Disabled {
        return Err(CmdError::new(Status::BadSystemState, "the HCA is enabled already"));
    }
    dev.reset_objects();
    dev.hca = Hca { state: State::Enabled, ..Hca::default() };
    Ok(())
}

pub fn disable(dev: &mut Device, _: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    if !dev.hca.pages.is_empty() {
        let left = dev.hca.pages.len();
        dev.strict
            .violation(format_args!("DISABLE_HCA while {left} pages are still the firmware's"));
    }
    dev.reset_objects();
    dev.hca = Hca::default();
    Ok(())
}

pub fn query_issi(_: &mut Device, _: &Input<'_>, out: &mut Output<'_>) -> Result<(), CmdError> {
    // Revisions 0 and 1.
    out.set("supported_issi_dw0", 3)?;
    Ok(())
}

pub fn set_issi(dev: &mut Device, input: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    let issi = input.get32("current_issi")?;
    if issi != 1 {
        return Err(CmdError::unsupported(format!("ISSI {issi}")));
    }
    dev.hca.issi = issi;
    Ok(())
}

pub fn query_pages(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    let pages = match input.get("op_mod")? {
        1 => BOOT_PAGES,
        2 => INIT_PAGES,
        3 => 0,
        other => return Err(CmdError::parameter(format!("QUERY_PAGES of kind {other}"))),
    };
    out.set("num_pages", pages as u64)?;
    dev.hca.pages.reserve(pages);
    Ok(())
}

pub fn manage_pages(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    let count = input.get("input_num_entries")?;
    match input.get("op_mod")? {
        0 => Err(CmdError::parameter("the driver has no pages to give")),
        1 => {
            let pages =
                (0..count).map(|n| input.get_nth("pas", n)).collect::<Result<Vec<_>, _>>()?;
            for page in &pages {
                if page & 0xfff != 0 || dev.hca.pages.contains(page) {
                    return Err(CmdError::parameter(format!(
                        "page {page:#x} is not aligned or was given before"
                    )));
                }
                dev.mem.read_vec(*page, 4096)?;
            }
            dev.hca.pages.extend(pages);
            Ok(())
        }
        2 => {
            let keep =
                dev.hca.pages.len().saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
            let taken = dev.hca.pages.split_off(keep);
            out.set("output_num_entries", taken.len() as u64)?;
            out.bytes.resize(out.bytes.len() + taken.len() * 8, 0);
            for (n, page) in taken.iter().enumerate() {
                out.set_nth("pas", n as u64, *page)?;
            }
            Ok(())
        }
        other => Err(CmdError::parameter(format!("MANAGE_PAGES of kind {other}"))),
    }
}

pub fn query_cap(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    let op_mod = input.get("op_mod")?;
    // What the device can do and what it is set to are the same, but where the driver has set something.
    let (kind, current) = (op_mod >> 1, op_mod & 1 == 1);
    let data = match &dev.hca.current {
        Some(set) if kind == 0 && current => set.clone(),
        _ => dev.caps.encode(&dev.ifc, kind)?,
    };
    out.copy("capability", &data)?;
    Ok(())
}

pub fn set_cap(dev: &mut Device, input: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    let kind = input.get("op_mod")? >> 1;
    if kind != 0 {
        return Err(CmdError::unsupported(format!("SET_HCA_CAP of type {kind:#x}")));
    }
    if dev.hca.state == State::Initialized {
        return Err(CmdError::new(Status::BadSystemState, "capabilities are set after INIT_HCA"));
    }
    let set = input.part("capability", "cmd_hca_cap")?;
    if set.get("cmdif_checksum")? != 0 {
        return Err(CmdError::unsupported("command checksums"));
    }
    if set.get("log_uar_page_sz")? != 0 {
        return Err(CmdError::unsupported("UAR pages other than of 4 KiB"));
    }
    let mut current = set.bytes.to_vec();
    current.resize(dev.ifc.size_of("hca_cap_union")?, 0);
    dev.hca.current = Some(current);
    Ok(())
}

pub fn init(dev: &mut Device, _: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    if dev.hca.state == State::Initialized {
        return Err(CmdError::new(Status::BadSystemState, "the HCA is initialised already"));
    }
    if dev.hca.pages.len() < BOOT_PAGES + INIT_PAGES {
        return Err(CmdError::new(
            Status::BadSystemState,
            "the firmware has not got the pages it needs",
        ));
    }
    dev.hca.state = State::Initialized;
    note("the driver initialises the device");
    Ok(())
}

pub fn teardown(dev: &mut Device, input: &Input<'_>, out: &mut Output<'_>) -> Result<(), CmdError> {
    let profile = input.get("profile")?;
    if profile == 0 {
        for left in dev.objects.left().collect::<Vec<_>>() {
            dev.strict.violation(format_args!("TEARDOWN_HCA while there is still {left:?}"));
        }
    }
    // The state after a forced teardown: 0 is success.
    out.set("state", 0)?;
    dev.reset_objects();
    dev.hca.state = State::Enabled;
    note(format_args!(
        "the driver tears the device down; {} violations so far",
        dev.strict.count()
    ));
    Ok(())
}

pub fn query_adapter(_: &mut Device, _: &Input<'_>, out: &mut Output<'_>) -> Result<(), CmdError> {
    out.copy("query_adapter_struct.vsd_contd_psid", b"MODEL00000000001")?;
    Ok(())
}

/// For what tells the firmware something that changes nothing.
pub fn nothing(_: &mut Device, _: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    Ok(())
}
