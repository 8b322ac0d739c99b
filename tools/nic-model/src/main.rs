// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The server: listens on a socket that QEMU's `vfio-user-pci` connects to.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{anyhow, Context};
use clap::Parser;
use nic_model::caps::{Caps, Profile, TABLE};
use nic_model::device::{Config, Device};
use nic_model::ifc::Ifc;
use nic_model::pci::{ConfigSpace, Model};
use nic_model::sched::Policy;
use nic_model::server;
use nic_model::silicon::Silicon;
use nic_model::wire::{Capture, Endpoint, Impairments, Wire};

/// A ConnectX-6 Dx or 7 in software, for QEMU's vfio-user-pci.
///
/// Exits with 0 when QEMU has gone, with 1 if the driver did something that it must not do, and with 2 if something else
/// went wrong.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The socket to listen on.
    #[arg(required_unless_present = "list_caps")]
    socket: Option<PathBuf>,
    /// Which card to be.
    #[arg(long, value_enum, default_value = "cx6dx")]
    model: Model,
    /// The MAC address.
    #[arg(long, default_value = "02:00:00:00:00:01", value_parser = parse_mac)]
    mac: [u8; 6],
    /// What is at the other end of the cable: unix:PATH (another model with the same path), tap:NAME, or none.
    #[arg(long, default_value = "none")]
    wire: Endpoint,
    /// What happens to frames on their way out, such as loss=2%,delay=1ms,rate=100mbit.
    #[arg(long, default_value = "")]
    impair: Impairments,
    /// Write what is on the wire to a pcap file.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// The folder with mlx5_ifc.h of the kernel under test: include/linux/mlx5 in its source or headers.
    #[arg(long, value_name = "DIR")]
    ifc: Option<PathBuf>,
    /// Which capabilities the device has.
    #[arg(long, value_enum, default_value = "default")]
    caps: Profile,
    /// Gives one capability another value, such as tls_tx=0; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    cap: Vec<String>,
    /// Lists the capabilities, their values, and who needs them.
    #[arg(long)]
    list_caps: bool,
    /// In which order work queues progress: fair, or seed=N.
    #[arg(long, default_value = "fair")]
    sched: Policy,
    /// What goes wrong on purpose, such as seed=7,late-cqe=1%,sq-error=0.01%,after=5s.
    #[arg(long, value_name = "PLAN", default_value = "")]
    faults: String,
    /// How the card behaves where nobody knows how it does: static=with-progress, unready=garbage, framing=pass, lso-ipv6.
    /// And what it does wrong, for tests that must notice: ignore-dump, ignore-resync, wrong-salt.
    #[arg(long, value_name = "LIST", default_value = "")]
    silicon: Silicon,
    /// A line for each command of the driver's.
    #[arg(long)]
    log_commands: bool,
}

fn parse_mac(text: &str) -> Result<[u8; 6], String> {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|part| u8::from_str_radix(part, 16).map_err(|_| format!("'{text}' is no MAC address")))
        .collect::<Result<_, _>>()?;
    let mac: [u8; 6] = bytes.try_into().map_err(|_| format!("'{text}' is no MAC address"))?;
    if mac[0] & 1 == 1 {
        return Err(format!("'{text}' is a multicast address"));
    }
    Ok(mac)
}

fn run(options: Options) -> anyhow::Result<bool> {
    if options.list_caps {
        for cap in TABLE {
            println!(
                "{:10} {:70} {:8} {:?}",
                format!("{:?}", cap.group),
                cap.field,
                cap.value,
                cap.need
            );
        }
        return Ok(true);
    }
    let folder = options
        .ifc
        .or_else(nic_model::default_ifc_folder)
        .ok_or_else(|| anyhow!("where is mlx5_ifc.h of the kernel under test? --ifc tells"))?;
    let ifc = Ifc::load(&folder)?;
    let mut caps = Caps::new(options.caps);
    for setting in &options.cap {
        let (name, value) =
            setting.split_once('=').ok_or_else(|| anyhow!("'{setting}' is not NAME=VALUE"))?;
        let value = value.parse().with_context(|| format!("'{value}' is no number"))?;
        caps.set(&ifc, name, value).map_err(anyhow::Error::msg)?;
    }
    let config = Config {
        mac: options.mac,
        silicon: options.silicon.tls,
        lso: options.silicon.lso,
        scheduler: options.sched,
        faults: options.faults,
        log_commands: options.log_commands,
    };
    let mut wire = Wire::new(options.wire.open().context("cannot open the wire")?, options.impair);
    if let Some(path) = &options.pcap {
        wire.set_capture(
            Capture::create(path).with_context(|| format!("cannot write {}", path.display()))?,
        );
    }
    let socket = options.socket.ok_or_else(|| anyhow!("no socket"))?;
    let device = Device::new(ifc, caps, config)?;
    let device = server::serve(&socket, device, ConfigSpace::new(options.model), wire)?;
    match device.strict.count() {
        0 => eprintln!("nic-model: done, no violations"),
        n => eprintln!("nic-model: done, {n} VIOLATIONS"),
    }
    Ok(device.strict.count() == 0)
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("nic-model: {error:#}");
            ExitCode::from(2)
        }
    }
}
