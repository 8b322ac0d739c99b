// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Which objects exist, and which of them use which others.
//!
//! An object may only name objects that exist, and cannot go while one that exists names it. Ids are given out in turn,
//! so that the id of an object that is gone stays unknown for long.

use std::collections::BTreeMap;
use std::fmt;

use crate::cmd::{CmdError, Status};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Uar,
    Pd,
    TransportDomain,
    Mkey,
    QCounter,
    Eq,
    Cq,
    Tis,
    Sq,
    Rq,
    Rqt,
    Tir,
    FlowTable,
    FlowGroup,
    Dek,
}

impl Kind {
    /// The ids that an object of the kind may have.
    fn ids(self) -> (u32, u32) {
        match self {
            // The first pages of BAR 0 are the init segment's.
            Kind::Uar => (0x10, 0x3ff),
            Kind::Eq | Kind::QCounter => (1, 0xff),
            // A key is its index and the driver's 8 bits: 0x100 (MLX5_INVALID_LKEY) must not be one.
            Kind::Mkey => (2, 0x00ff_ffff),
            _ => (1, 0x00ff_ffff),
        }
    }
}

/// An object: its kind and id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub Kind, pub u32);

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:#x}", self.0, self.1)
    }
}

#[derive(Debug, Default)]
struct Object {
    users: u32,
    uses: Vec<Handle>,
}

#[derive(Debug, Default)]
pub struct Objects {
    live: BTreeMap<Handle, Object>,
    last: BTreeMap<Kind, u32>,
    limits: BTreeMap<Kind, u32>,
}

impl Objects {
    /// No more than so many of a kind: beyond that, creation fails.
    pub fn limit(&mut self, kind: Kind, most: u32) {
        self.limits.insert(kind, most);
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.of(kind).count()
    }

    pub fn of(&self, kind: Kind) -> impl Iterator<Item = u32> + '_ {
        self.live.range(Handle(kind, 0)..=Handle(kind, u32::MAX)).map(|(handle, _)| handle.1)
    }

    pub fn exists(&self, handle: Handle) -> bool {
        self.live.contains_key(&handle)
    }

    pub fn check(&self, handle: Handle) -> Result<(), CmdError> {
        if self.exists(handle) {
            return Ok(());
        }
        Err(CmdError::new(Status::BadResource, format!("there is no {handle:?}")))
    }

    /// Makes an object that uses others.
    pub fn create(&mut self, kind: Kind, uses: &[Handle]) -> Result<u32, CmdError> {
        for used in uses {
            self.check(*used)?;
        }
        let (first, last) = kind.ids();
        let most = self.limits.get(&kind).copied().unwrap_or(last - first + 1);
        let exhausted = || CmdError::new(Status::LimitExceeded, format!("no more {kind:?}s"));
        if self.count(kind) >= most as usize {
            return Err(exhausted());
        }
        let before = self.last.get(&kind).copied().unwrap_or(last);
        let id = (before + 1..=last)
            .chain(first..=before)
            .find(|id| !self.exists(Handle(kind, *id)))
            .ok_or_else(exhausted)?;
        self.last.insert(kind, id);
        self.live.insert(Handle(kind, id), Object::default());
        self.set_uses(Handle(kind, id), uses)?;
        Ok(id)
    }

    pub fn destroy(&mut self, handle: Handle) -> Result<(), CmdError> {
        self.check(handle)?;
        if self.live.get(&handle).is_some_and(|object| object.users > 0) {
            let user = self.live.iter().find(|(_, o)| o.uses.contains(&handle)).map(|(h, _)| *h);
            return Err(CmdError::new(
                Status::ResourceBusy,
                format!("{handle:?} is used by {user:?}"),
            ));
        }
        self.set_uses(handle, &[])?;
        self.live.remove(&handle);
        Ok(())
    }

    /// From now on the object uses these.
    pub fn set_uses(&mut self, handle: Handle, uses: &[Handle]) -> Result<(), CmdError> {
        for used in uses {
            self.check(*used)?;
        }
        let Some(object) = self.live.get_mut(&handle) else { return self.check(handle) };
        let old = std::mem::replace(&mut object.uses, uses.to_vec());
        for used in uses {
            self.live.entry(*used).and_modify(|o| o.users += 1);
        }
        for used in old {
            self.live.entry(used).and_modify(|o| o.users -= 1);
        }
        Ok(())
    }

    /// What is left when a driver says that it is done.
    pub fn left(&self) -> impl Iterator<Item = Handle> + '_ {
        self.live.keys().copied()
    }

    /// All are gone, as by a reset.
    pub fn clear(&mut self) {
        self.live.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_in_turn_and_within_their_range() {
        let mut objects = Objects::default();
        let ids: Vec<_> = (0..255).map(|_| objects.create(Kind::Eq, &[]).unwrap()).collect();
        assert_eq!(ids, (1..=255).collect::<Vec<_>>());
        assert_eq!(objects.create(Kind::Eq, &[]).unwrap_err().status, Status::LimitExceeded);
        objects.destroy(Handle(Kind::Eq, 7)).unwrap();
        objects.destroy(Handle(Kind::Eq, 9)).unwrap();
        assert_eq!(objects.create(Kind::Eq, &[]).unwrap(), 7);
        assert_eq!(objects.create(Kind::Eq, &[]).unwrap(), 9);
        assert_eq!(objects.create(Kind::Uar, &[]).unwrap(), 0x10);
    }

    #[test]
    fn who_is_used_stays() {
        let mut objects = Objects::default();
        let eq = Handle(Kind::Eq, objects.create(Kind::Eq, &[]).unwrap());
        let other = Handle(Kind::Eq, objects.create(Kind::Eq, &[]).unwrap());
        let cq = Handle(Kind::Cq, objects.create(Kind::Cq, &[eq, eq]).unwrap());
        assert_eq!(objects.destroy(eq).unwrap_err().status, Status::ResourceBusy);
        objects.set_uses(cq, &[other]).unwrap();
        objects.destroy(eq).unwrap();
        assert_eq!(objects.destroy(eq).unwrap_err().status, Status::BadResource);
        assert_eq!(objects.create(Kind::Cq, &[eq]).unwrap_err().status, Status::BadResource);
        assert!(objects.set_uses(cq, &[eq]).is_err());
        assert!(objects.destroy(other).is_err());
        objects.destroy(cq).unwrap();
        objects.destroy(other).unwrap();
        assert_eq!(objects.left().count(), 0);
    }

    #[test]
    fn limits_hold() {
        let mut objects = Objects::default();
        objects.limit(Kind::Tis, 1);
        objects.create(Kind::Tis, &[]).unwrap();
        assert_eq!(objects.create(Kind::Tis, &[]).unwrap_err().status, Status::LimitExceeded);
    }
}
