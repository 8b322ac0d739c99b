// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The vfio-user server, and the thread in which the device works.
//!
//! QEMU's accesses are answered at once, one after the other. Whatever takes longer (commands, work queues, packets) is
//! only noted by them, and done by the engine, in whichever order the scheduler likes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags};
use vfio_bindings::bindings::vfio::{
    vfio_region_info, VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_NONE,
    VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_PCI_NUM_IRQS, VFIO_PCI_NUM_REGIONS, VFIO_REGION_INFO_FLAG_READ,
    VFIO_REGION_INFO_FLAG_WRITE,
};
use vfio_user::{DmaMapFlags, DmaUnmapFlags, IrqInfo, Server, ServerBackend, ServerRegion};

use crate::bar;
use crate::device::Device;
use crate::pci::{self, ConfigSpace, Effect};
use crate::strict::note;
use crate::wire::Wire;
use crate::work::Worked;

/// What both threads have.
struct Shared {
    device: Mutex<Device>,
    /// Wakes the engine.
    wake: OwnedFd,
    stop: AtomicBool,
}

impl Shared {
    fn device(&self) -> MutexGuard<'_, Device> {
        // If the other thread has panicked, the run has failed anyway; what is left helps to see why.
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // A counter that is full wakes, too.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

/// Serves one QEMU on a socket until it goes. The device that is given back has what was found out.
pub fn serve(
    socket: &Path,
    device: Device,
    config: ConfigSpace,
    wire: Wire,
) -> anyhow::Result<Device> {
    let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    let shared =
        Arc::new(Shared { device: Mutex::new(device), wake, stop: AtomicBool::new(false) });
    let irqs = (0..VFIO_PCI_NUM_IRQS)
        .map(|index| IrqInfo {
            index,
            count: if index == VFIO_PCI_MSIX_IRQ_INDEX { pci::MSIX_VECTORS } else { 0 },
            flags: VFIO_IRQ_INFO_EVENTFD,
        })
        .collect();
    let regions = (0..VFIO_PCI_NUM_REGIONS).map(region).collect();
    let server = Server::new(socket, true, irqs, regions)
        .with_context(|| format!("cannot listen on {}", socket.display()))?;
    note(format_args!("waiting for QEMU on {}", socket.display()));

    let engine = {
        let shared = shared.clone();
        std::thread::spawn(move || engine(&shared, wire))
    };
    let served = server.run(&mut Backend { shared: shared.clone(), config });
    shared.stop.store(true, Ordering::Release);
    shared.wake();
    let worked = engine.join();
    served.context("vfio-user")?;
    match worked {
        Ok(result) => result.context("the wire")?,
        Err(_) => anyhow::bail!("the engine panicked"),
    }
    let Ok(shared) = Arc::try_unwrap(shared) else {
        anyhow::bail!("somebody still holds the device")
    };
    Ok(shared.device.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn region(index: u32) -> ServerRegion {
    let size = match index {
        VFIO_PCI_BAR0_REGION_INDEX => bar::SIZE,
        VFIO_PCI_CONFIG_REGION_INDEX => pci::SIZE as u64,
        _ => 0,
    };
    let flags = if size > 0 { VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE } else { 0 };
    ServerRegion {
        region_info: vfio_region_info {
            argsz: std::mem::size_of::<vfio_region_info>() as u32,
            flags,
            index,
            cap_offset: 0,
            size,
            offset: 0,
        },
        sparse_areas: Vec::new(),
        mmap_fd: None,
    }
}

struct Backend {
    shared: Arc<Shared>,
    config: ConfigSpace,
}

/// Nothing here fails: QEMU has no use for an error, and the device goes on with whatever it got.
impl ServerBackend for Backend {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        match region {
            VFIO_PCI_BAR0_REGION_INDEX => bar::read(&self.shared.device(), offset, data),
            VFIO_PCI_CONFIG_REGION_INDEX => {
                if offset as usize >= pci::TEST {
                    let violations = self.shared.device().strict.count();
                    self.config.set_test(1, u32::try_from(violations).unwrap_or(u32::MAX));
                }
                self.config.read(offset, data);
            }
            _ => data.fill(0),
        }
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        match region {
            VFIO_PCI_BAR0_REGION_INDEX => bar::write(&mut self.shared.device(), offset, data),
            VFIO_PCI_CONFIG_REGION_INDEX => match self.config.write(offset, data) {
                Effect::None => return Ok(()),
                Effect::Reset => self.reset()?,
                Effect::Test(command) => self.shared.device().test_command(command),
                Effect::Tune(text) => self.shared.device().tune(&text),
            },
            _ => return Ok(()),
        }
        self.shared.wake();
        Ok(())
    }

    fn dma_map(
        &mut self,
        flags: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        fd: Option<File>,
    ) -> io::Result<()> {
        // ROMs and the like come without a file or read-only: no place for DMA.
        let Some(file) = fd.filter(|_| flags.contains(DmaMapFlags::READ_WRITE)) else {
            return Ok(());
        };
        if let Err(error) = self.shared.device().mem.map(file, offset, address, size) {
            note(format_args!("memory at {address:#x} cannot be mapped: {error}"));
        }
        Ok(())
    }

    fn dma_unmap(&mut self, _flags: DmaUnmapFlags, address: u64, size: u64) -> io::Result<()> {
        self.shared.device().mem.unmap(address, size);
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        note("reset");
        self.shared.device().reset();
        Ok(())
    }

    fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        count: u32,
        fds: Vec<File>,
    ) -> io::Result<()> {
        if index != VFIO_PCI_MSIX_IRQ_INDEX || flags & VFIO_IRQ_SET_ACTION_TRIGGER == 0 {
            return Ok(());
        }
        let irqs = &mut self.shared.device().eqs.irqs;
        if flags & VFIO_IRQ_SET_DATA_NONE != 0 && count == 0 {
            irqs.clear();
        } else {
            irqs.set(start, count, fds);
        }
        Ok(())
    }
}

/// How many steps the engine takes before it lets QEMU's accesses in.
const SLICE: usize = 32;

/// Does the device's work until told to stop.
fn engine(shared: &Shared, mut wire: Wire) -> io::Result<()> {
    while !shared.stop.load(Ordering::Acquire) {
        let mut device = shared.device();
        let now = Instant::now();
        if let Some(impairments) = device.impair.take() {
            wire.set_impairments(impairments);
        }
        let Worked { mut busy, due: work_due } = device.work(SLICE);
        for frame in device.outgoing.drain(..) {
            wire.send(now, &frame);
        }
        let due = wire.advance(now)?.into_iter().chain(work_due).min();
        for _ in 0..SLICE {
            let Some(frame) = wire.receive()? else { break };
            device.receive(&frame);
            busy = true;
        }
        device.port.carrier = wire.carrier();
        device.update_link();
        drop(device);
        if !busy {
            wait(shared, &wire, due)?;
        }
    }
    wire.flush()
}

/// Waits for work, a frame, or the time that is due.
fn wait(shared: &Shared, wire: &Wire, due: Option<Instant>) -> io::Result<()> {
    /// Something may also happen without a sign.
    const LONGEST: Duration = Duration::from_millis(500);
    let timeout =
        due.map_or(LONGEST, |due| due.saturating_duration_since(Instant::now()).min(LONGEST));
    let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() };
    let wanted = if wire.wants_write() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
    let wire_fd = wire.fd();
    let mut fds = [
        PollFd::new(&shared.wake, PollFlags::IN),
        PollFd::from_borrowed_fd(wire_fd.as_fd(), wanted),
    ];
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    // Non-blocking: empty if something else has woken us.
    let _ = rustix::io::read(&shared.wake, &mut [0; 8]);
    Ok(())
}
