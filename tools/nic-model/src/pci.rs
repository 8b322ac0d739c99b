// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The PCI function's configuration space.
//!
//! QEMU emulates the BARs and the MSI-X table; the rest is kept here as it is written.

pub const SIZE: usize = 4096;

/// The vendor's, and two of the devices that its driver knows.
const VENDOR: u16 = 0x15b3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Model {
    /// ConnectX-6 Dx
    Cx6dx,
    /// ConnectX-7
    Cx7,
}

impl Model {
    fn device_id(self) -> u16 {
        match self {
            Model::Cx6dx => 0x101d,
            Model::Cx7 => 0x1021,
        }
    }
}

pub const MSIX_VECTORS: u32 = 16;
/// Where in BAR 0 the table and the pending bits of MSI-X are.
const MSIX_TABLE: u32 = 0x1ff_0000;
const MSIX_PBA: u32 = 0x1ff_8000;

/// Capabilities.
const PCIE: usize = 0x40;
const MSIX: usize = 0x80;
const POWER: usize = 0x90;
const DEVICE_CONTROL: usize = PCIE + 0x08;

/// Registers of the model's own, in no capability: whoever may write configuration space can try the driver's patience.
/// See README.md.
pub const TEST: usize = 0xf0;
/// Text for the command [`TUNE`], as many bytes as its argument says.
pub const TEXT: usize = 0xe00;
const TEXT_SIZE: usize = 0x100;
const TUNE: u32 = 4;

#[derive(Debug)]
pub struct ConfigSpace {
    bytes: Vec<u8>,
}

/// What a write asks for beyond being remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    None,
    /// Initiate a function-level reset.
    Reset,
    /// A command to the model itself.
    Test(u32),
    /// Another value for an option of the model's.
    Tune(String),
}

impl ConfigSpace {
    pub fn new(model: Model) -> ConfigSpace {
        let mut config = ConfigSpace { bytes: vec![0; SIZE] };
        let mut put = |at: usize, bytes: &[u8]| {
            for (to, from) in config.bytes.iter_mut().skip(at).zip(bytes) {
                *to = *from;
            }
        };
        put(0x00, &VENDOR.to_le_bytes());
        put(0x02, &model.device_id().to_le_bytes());
        // There is a list of capabilities.
        put(0x06, &[0x10]);
        // Ethernet controller.
        put(0x0a, &[0x00, 0x02]);
        // BAR 0: 64 bits, prefetchable.
        put(0x10, &[0x0c]);
        put(0x2c, &VENDOR.to_le_bytes());
        put(0x2e, &1u16.to_le_bytes());
        put(0x34, &[PCIE as u8]);

        // PCI Express: version 2, endpoint; 256 bytes of payload, role-based errors, function-level reset; 16 lanes of
        // 16 GT/s.
        put(PCIE, &[0x10, MSIX as u8, 0x02, 0x00]);
        put(PCIE + 0x04, &0x1000_8001u32.to_le_bytes());
        put(PCIE + 0x0c, &0x0000_0104u32.to_le_bytes());
        put(PCIE + 0x12, &0x0104u16.to_le_bytes());
        put(PCIE + 0x2c, &0x0000_001eu32.to_le_bytes());
        put(PCIE + 0x30, &0x0004u16.to_le_bytes());

        put(MSIX, &[0x11, POWER as u8]);
        put(MSIX + 2, &(MSIX_VECTORS as u16 - 1).to_le_bytes());
        put(MSIX + 4, &MSIX_TABLE.to_le_bytes());
        put(MSIX + 8, &MSIX_PBA.to_le_bytes());

        // Power management, version 3: only D0 and D3hot, without a reset in between.
        put(POWER, &[0x01, 0x00, 0x03, 0x00, 0x08, 0x00]);
        config
    }

    pub fn read(&self, offset: u64, data: &mut [u8]) {
        let start = usize::try_from(offset).unwrap_or(SIZE);
        for (n, byte) in data.iter_mut().enumerate() {
            *byte = start.checked_add(n).and_then(|at| self.bytes.get(at)).copied().unwrap_or(0);
        }
    }

    pub fn write(&mut self, offset: u64, data: &[u8]) -> Effect {
        let start = usize::try_from(offset).unwrap_or(SIZE);
        let mut effect = Effect::None;
        if start == TEST {
            if let Some(word) = data.first_chunk() {
                return self.test(u32::from_le_bytes(*word));
            }
        }
        for (n, byte) in data.iter().enumerate() {
            let Some(at) = start.checked_add(n) else { break };
            let mut value = *byte;
            if at == DEVICE_CONTROL + 1 && value & 0x80 != 0 {
                // This bit reads as zero.
                value &= 0x7f;
                effect = Effect::Reset;
            }
            let writable = at < PCIE && matches!(at, 0x04 | 0x05 | 0x0c | 0x0d | 0x3c)
                || (DEVICE_CONTROL..DEVICE_CONTROL + 2).contains(&at)
                || (PCIE + 0x10..PCIE + 0x12).contains(&at)
                || (PCIE + 0x28..PCIE + 0x2a).contains(&at)
                || at == MSIX + 3
                || at == POWER + 4
                || (TEXT..TEXT + TEXT_SIZE).contains(&at);
            if let Some(place) = self.bytes.get_mut(at).filter(|_| writable) {
                *place = value;
            }
        }
        effect
    }

    fn test(&self, command: u32) -> Effect {
        if command >> 24 != TUNE {
            return Effect::Test(command);
        }
        let len = (command as usize & 0xff_ffff).min(TEXT_SIZE);
        let text = self.bytes.get(TEXT..TEXT + len).unwrap_or_default();
        Effect::Tune(String::from_utf8_lossy(text).into_owned())
    }

    /// A register of the model's own, behind [`TEST`].
    pub fn set_test(&mut self, word: usize, value: u32) {
        let at = TEST + word * 4;
        if let Some(place) = self.bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(config: &ConfigSpace, at: u64, len: usize) -> u32 {
        let mut data = [0; 4];
        config.read(at, &mut data[..len]);
        u32::from_le_bytes(data)
    }

    #[test]
    fn capabilities_are_a_list() {
        let config = ConfigSpace::new(Model::Cx7);
        assert_eq!(get(&config, 0, 4), 0x1021_15b3);
        let mut found = Vec::new();
        let mut at = get(&config, 0x34, 1);
        while at != 0 {
            found.push(get(&config, at.into(), 1));
            at = get(&config, u64::from(at) + 1, 1);
        }
        assert_eq!(found, [0x10, 0x11, 0x01]);
        assert_eq!(get(&config, u64::MAX, 4), 0);
    }

    #[test]
    fn writes() {
        let mut config = ConfigSpace::new(Model::Cx6dx);
        assert_eq!(config.write(4, &[6, 4]), Effect::None);
        assert_eq!(get(&config, 4, 2), 0x0406);
        config.write(0, &[0; 4]);
        config.write(0x10, &[0xff; 8]);
        assert_eq!((get(&config, 0, 4), get(&config, 0x10, 4)), (0x101d_15b3, 0x0c));
        assert_eq!(config.write(DEVICE_CONTROL as u64, &[0, 0x80]), Effect::Reset);
        assert_eq!(get(&config, DEVICE_CONTROL as u64, 2), 0);
        assert_eq!(config.write(TEST as u64, &[1, 0, 0, 2]), Effect::Test(0x0200_0001));
        config.set_test(1, 7);
        assert_eq!(get(&config, TEST as u64 + 4, 4), 7);
        config.write(u64::MAX, &[1, 2]);
        config.write(TEXT as u64, b"sched");
        config.write(TEXT as u64 + 5, b" seed=1?");
        assert_eq!(
            config.write(TEST as u64, &[12, 0, 0, 4]),
            Effect::Tune("sched seed=1".to_owned())
        );
    }
}
