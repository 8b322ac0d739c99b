// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a wire is made of: ways to get frames to another port.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use tappers::{DeviceState, Interface};

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way.
    Yes,
    /// There is no room for it now.
    Full,
    /// There is nobody at the other end.
    NoPeer,
}

/// A way to get frames to another port. No call blocks.
pub trait Link: Send {
    /// Sends a frame.
    fn send(&mut self, frame: &[u8]) -> io::Result<Sent>;

    /// Receives a frame into `buffer`: its length, or `None` if there is none now.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>>;

    /// What becomes readable when there may be something to receive, and writable when there is room again. It may be
    /// another one after each call.
    fn fd(&self) -> BorrowedFd<'_>;

    /// There is something at the other end.
    fn carrier(&self) -> bool;
}

/// Where a wire leads, as an option: `unix:PATH`, `tap:NAME`, `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Another model NIC that has the same path: [`Unix`].
    Unix(PathBuf),
    /// A tap device of this machine: [`Tap`].
    Tap(String),
    /// Nowhere: a port without a cable.
    None,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Endpoint::Unix(path.into())),
            Some(("tap", name)) if !name.is_empty() => Ok(Endpoint::Tap(name.into())),
            None if s == "none" => Ok(Endpoint::None),
            _ => Err(format!("'{s}' is not unix:PATH, tap:NAME or none")),
        }
    }
}

impl Endpoint {
    /// Plugs it in.
    pub fn open(&self) -> io::Result<Box<dyn Link>> {
        Ok(match self {
            Endpoint::Unix(path) => Box::new(Unix::new(path)?),
            Endpoint::Tap(name) => Box::new(Tap::new(name)?),
            Endpoint::None => Box::new(Nowhere(eventfd(0, EventfdFlags::CLOEXEC)?)),
        })
    }
}

const NON_BLOCKING: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// The two ends of a cable within this process.
pub fn pair() -> io::Result<(Pair, Pair)> {
    let (a, b) = net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, NON_BLOCKING, None)?;
    Ok((Pair(Connection::new(a)), Pair(Connection::new(b))))
}

/// A connected socket. Its type keeps frames apart.
struct Connection {
    socket: OwnedFd,
    alive: bool,
}

impl Connection {
    fn new(socket: OwnedFd) -> Self {
        Connection { socket, alive: true }
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<Sent> {
        match net::send(&self.socket, frame, SendFlags::NOSIGNAL) {
            Ok(_) => Ok(Sent::Yes),
            // ENOBUFS: this socket has room, the machine has none at the moment.
            Err(Errno::AGAIN | Errno::NOBUFS) => Ok(Sent::Full),
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => {
                self.alive = false;
                Ok(Sent::NoPeer)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match net::recv(&self.socket, buffer, RecvFlags::empty()) {
            Ok((0, _)) | Err(Errno::CONNRESET) => {
                self.alive = false;
                Ok(None)
            }
            Ok((len, _)) => Ok(Some(len)),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// One end of a cable within this process: [`pair`].
pub struct Pair(Connection);

impl Link for Pair {
    fn send(&mut self, frame: &[u8]) -> io::Result<Sent> {
        self.0.send(frame)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.0.receive(buffer)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.0.socket.as_fd()
    }

    fn carrier(&self) -> bool {
        self.0.alive
    }
}

/// No cable. Its file is never readable: that of a pair without its other end always is, and a loop that waits for it never
/// sleeps.
struct Nowhere(OwnedFd);

impl Link for Nowhere {
    fn send(&mut self, _: &[u8]) -> io::Result<Sent> {
        Ok(Sent::NoPeer)
    }

    fn receive(&mut self, _: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(None)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn carrier(&self) -> bool {
        false
    }
}

/// One end of a cable between two processes that were given the same path. Who comes first listens there, who comes
/// second connects; when one goes, the other waits for the next.
pub struct Unix {
    path: PathBuf,
    role: Role,
}

enum Role {
    Listens { listener: OwnedFd, peer: Option<Connection> },
    Connected { peer: Connection },
}

impl Unix {
    /// Plugs in this end.
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Unix { path: path.into(), role: meet(path)? })
    }

    /// The peer, if there is one; takes note of one that has come or gone.
    fn peer(&mut self) -> io::Result<Option<&mut Connection>> {
        if let Role::Connected { peer: Connection { alive: false, .. } } = self.role {
            self.role = meet(&self.path)?;
        }
        match &mut self.role {
            Role::Connected { peer } => Ok(Some(peer)),
            Role::Listens { listener, peer } => {
                peer.take_if(|p| !p.alive);
                if peer.is_none() {
                    match net::accept_with(listener, NON_BLOCKING) {
                        Ok(socket) => *peer = Some(Connection::new(socket)),
                        Err(Errno::AGAIN | Errno::CONNABORTED) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(peer.as_mut())
            }
        }
    }
}

/// Connects to who listens, or listens.
fn meet(path: &Path) -> io::Result<Role> {
    // Two that come at the same time must not both find nobody there.
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = File::create(name)?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, NON_BLOCKING, None)?;
    let address = SocketAddrUnix::new(path)?;
    match net::connect(&socket, &address) {
        Ok(()) => return Ok(Role::Connected { peer: Connection::new(socket) }),
        Err(Errno::NOENT) => {}
        // Somebody listened there once.
        Err(Errno::CONNREFUSED) => fs::remove_file(path)?,
        Err(error) => return Err(error.into()),
    }
    net::bind(&socket, &address)?;
    net::listen(&socket, 1)?;
    Ok(Role::Listens { listener: socket, peer: None })
}

impl Link for Unix {
    fn send(&mut self, frame: &[u8]) -> io::Result<Sent> {
        match self.peer()? {
            Some(peer) => peer.send(frame),
            None => Ok(Sent::NoPeer),
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(peer) = self.peer()? else { return Ok(None) };
        let received = peer.receive(buffer)?;
        if received.is_none() {
            // It may have gone just now: what is polled from here on must be what the next one comes to.
            self.peer()?;
        }
        Ok(received)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.role {
            Role::Connected { peer } | Role::Listens { peer: Some(peer), .. } => {
                peer.socket.as_fd()
            }
            Role::Listens { listener, peer: None } => listener.as_fd(),
        }
    }

    fn carrier(&self) -> bool {
        matches!(&self.role, Role::Connected { peer } | Role::Listens { peer: Some(peer), .. } if peer.alive)
    }
}

impl Drop for Unix {
    fn drop(&mut self) {
        if let Role::Listens { .. } = self.role {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A tap device of this machine, which is set up. It needs CAP_NET_ADMIN.
pub struct Tap(tappers::Tap);

impl Tap {
    /// The device of this name, made if it is not there.
    pub fn new(name: &str) -> io::Result<Self> {
        let mut tap = tappers::Tap::new_named(Interface::new(name)?)?;
        tap.set_nonblocking(true)?;
        tap.set_state(DeviceState::Up)?;
        Ok(Tap(tap))
    }
}

impl Link for Tap {
    fn send(&mut self, frame: &[u8]) -> io::Result<Sent> {
        match self.0.send(frame) {
            Ok(_) => Ok(Sent::Yes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Sent::Full),
            // The device is down.
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                Ok(Sent::NoPeer)
            }
            Err(error) => Err(error),
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.0.recv(buffer) {
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn carrier(&self) -> bool {
        true
    }
}
