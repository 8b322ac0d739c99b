// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `homa-perf server`: one client after the other, each served by a process of its own.

use crate::args::ServerArgs;
use crate::control::{Answer, Control};
use crate::spec::Spec;
use crate::sys;
use crate::transport::Server;
use anyhow::{ensure, Context, Result};
use std::net::TcpListener;

pub fn run(args: &ServerArgs) -> Result<()> {
    let host = args.listen.trim_start_matches('[').trim_end_matches(']');
    let listener = TcpListener::bind((host, args.port))
        .with_context(|| format!("listening on {} port {}", args.listen, args.port))?;
    eprintln!("homa-perf: listening on {}", listener.local_addr()?);
    if let Some(file) = &args.ready_file {
        std::fs::write(file, format!("{}\n", std::process::id()))
            .with_context(|| format!("writing {}", file.display()))?;
    }
    loop {
        let (stream, _) = listener.accept()?;
        let mut control = Control::new(stream);
        if let Err(error) = session(&mut control, args.port) {
            eprintln!("homa-perf: {error:#}");
            // The client may be gone; then nobody needs to know.
            let _ = control.send(&Answer::Error(format!("{error:#}")));
        }
        if args.once {
            return Ok(());
        }
    }
}

/// Serve one client until it closes the control connection.
fn session(control: &mut Control, homa_port: u16) -> Result<()> {
    let Some(spec) = control.receive::<Spec>()? else { return Ok(()) };
    let sizes = 1..=homa::MAX_MESSAGE_LENGTH;
    ensure!(sizes.contains(&spec.size) && sizes.contains(&spec.response), "sizes out of range");
    ensure!((1..=4096).contains(&spec.outstanding), "too many requests outstanding");
    let client = control.peer()?;
    eprintln!(
        "homa-perf: {client}: {}, {} bytes, {} outstanding",
        spec.transport.name(),
        spec.size,
        spec.outstanding
    );
    let server = Server::bind(&spec, control.local()?, homa_port)?;
    control.send(&Answer::Listening { port: server.port()? })?;
    let child = sys::fork(|| {
        let result = server.serve(&spec, client.ip(), || control.send(&Answer::Ready));
        if let Err(error) = result {
            eprintln!("homa-perf: {error:#}");
            let _ = control.send(&Answer::Error(format!("{error:#}")));
            return 1;
        }
        0
    })?;
    // Nothing more comes from the client but the end.
    while control.receive::<serde_json::Value>().is_ok_and(|message| message.is_some()) {}
    drop(child);
    Ok(())
}
