// SPDX-License-Identifier: GPL-2.0

//! Making and deleting devices.

use crate::dax::{
    device::{
        Device,
        Name, //
    },
    layout::extents::{
        Extents,
        Run, //
    },
    region::{
        member::{
            register,
            Attached,
            Member, //
        },
        AttributeData,
        Region,
        State, //
    }, //
};
use crate::kernel_ext::{
    fs::{
        cdev::Minor,
        device_node::Node, //
    },
    media::live::LiveMedia,
    units::{
        PageOffset,
        Pages, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

impl Region {
    /// Makes a device of `pages` pages, with the minor number `number` or the smallest free one.
    /// Returns the number.
    ///
    /// Process context; sleeps. Errors: `ENOSPC` if there are not enough free pages, or no such
    /// number; `EEXIST` if another device has the number; `ENOMEM`, `ENFILE`; `ENXIO` if the
    /// namespace is being unbound.
    pub(crate) fn create(self: &Arc<Self>, pages: Pages, number: Option<usize>) -> Result<usize> {
        let _nodes = self.nodes.lock();
        let live = self.live.try_access().ok_or(ENXIO)?;
        let (device, minor, runs) = self.add(&live, pages, number)?;
        let number = minor.number();
        let attributes = Arc::new(
            AttributeData {
                device: device.clone(),
                region: Some(self.clone()),
            },
            GFP_KERNEL,
        );
        let node = attributes.map_err(Error::from).and_then(|attributes| {
            Node::new(minor, live.device(), attributes, self.debugfs.clone())
        });
        match node {
            Ok(node) => {
                self.publish(&device, node, runs.len());
                Ok(number)
            }
            Err(error) => {
                self.undo(&live, &device, runs);
                Err(error)
            }
        }
    }

    /// Adds a device without a node to the region, so that its attributes work as soon as they
    /// exist.
    fn add(
        self: &Arc<Self>,
        live: &LiveMedia<()>,
        pages: Pages,
        number: Option<usize>,
    ) -> Result<(Arc<Device>, Minor<Device>, KVec<Run>)> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.members.reserve(1, GFP_KERNEL)?;
        let runs = state
            .free
            .take_all(pages, self.geometry.align, PageOffset::new(0), None)?;
        // Reserve room to give the runs back later, because other devices may take pages in
        // between.
        let made = state.free.promise(runs.len()).and_then(|()| {
            self.make(live, &runs, number)
                .inspect_err(|_| state.free.unpromise(runs.len()))
        });
        match made {
            Ok((member, minor)) => {
                let device = member.attached.device.clone();
                // Reserved above.
                let _ = state.members.push_within_capacity(member);
                Ok((device, minor, runs))
            }
            Err(error) => {
                state.free.give_back(&runs);
                Err(error)
            }
        }
    }

    fn make(
        self: &Arc<Self>,
        live: &LiveMedia<()>,
        runs: &[Run],
        number: Option<usize>,
    ) -> Result<(Pin<KBox<Member>>, Minor<Device>)> {
        let mut extents = Extents::new(self.geometry.span.first());
        for run in runs {
            extents.push(*run)?;
        }
        let device = Device::new(&self.geometry, live, extents, self.geometry.align)?;
        self.make_member(&device, number)
            .inspect_err(|_| device.forget(live))
    }

    fn make_member(
        &self,
        new: &Arc<Device>,
        number: Option<usize>,
    ) -> Result<(Pin<KBox<Member>>, Minor<Device>)> {
        let attached = Attached {
            device: new.clone(),
            region: self.live.clone(),
        };
        let frames = register(new)?;
        let minor = self.class.reserve(new, number)?;
        new.set_name(Name::rdax(minor.number()));
        let member = KBox::pin_init(
            try_pin_init!(Member {
                attached,
                frames,
                node: None,
                changed: false,
            }),
            GFP_KERNEL,
        )?;
        Ok((member, minor))
    }

    /// Adds the node of `device`. The `promised` runs will not be given back.
    fn publish(&self, device: &Device, node: Node<Device>, promised: usize) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.free.unpromise(promised);
        // Always found, because `nodes` is held.
        let Some(member) = state.member(device) else {
            return;
        };
        let member = member.project();
        if *member.changed {
            node.changed();
        }
        *member.node = Some(node);
        state.youngest = Some(device.number());
        self.name_block(state);
    }

    /// Makes ndctl's directory name the oldest device. The caller does this before it removes the
    /// node that the directory names.
    fn name_block(&self, state: &mut State) {
        if let (Some(live), Some(block)) = (self.live.try_access(), &mut state.block) {
            let first = state.members.iter().find_map(|member| member.node.as_ref());
            block.name(live.device(), first);
        }
    }

    /// Removes `device`, whose node could not be made. Its pages, initially `runs`, become free.
    fn undo(&self, live: &LiveMedia<()>, device: &Device, mut runs: KVec<Run>) {
        let mut state = self.state.lock();
        let index = state.index(|member| core::ptr::eq(&*member.attached.device, device));
        // Always found, because `nodes` is held.
        let Some(Ok(member)) = index.map(|index| state.members.remove(index)) else {
            return;
        };
        if member.changed {
            // Without memory to list its present pages, these become free only after the next bind.
            let now = device.live().ok_or(ENXIO);
            let now = now
                .and_then(|live| device.runs_from(&live, PageOffset::new(0)))
                .and_then(|now| {
                    state.free.promise(now.len())?;
                    Ok(now)
                });
            state.free.unpromise(runs.len());
            runs = now.unwrap_or_default();
        }
        drop(state);

        drop(member);
        device.forget(live);
        let mut state = self.state.lock();
        for run in runs.iter() {
            state.free.give(*run);
        }
    }

    /// Deletes the device with the minor number `minor`. Its pages become free.
    ///
    /// Process context; sleeps. Errors: `ENXIO` if this region has no such device, `EBUSY` if it is
    /// open or mapped, `ENOMEM`.
    pub(crate) fn delete(&self, minor: usize) -> Result {
        let _nodes = self.nodes.lock();
        let mut state = self.state.lock();
        let index = state
            .index(|member| member.attached.device.number() == minor)
            .ok_or(ENXIO)?;
        let member = state.members.get(index).ok_or(ENXIO)?;
        let device = member.attached.device.clone();
        let runs = device.runs_from(&*device.live().ok_or(ENXIO)?, PageOffset::new(0))?;
        state.free.promise(runs.len())?;
        if let Err(error) = device.retire() {
            state.free.unpromise(runs.len());
            return Err(error);
        }
        let member = state.members.remove(index);
        if state.youngest == Some(minor) {
            state.youngest = None;
        }
        self.name_block(&mut state);
        drop(state);

        drop(member);
        if let Some(live) = self.live.try_access() {
            device.forget(&live);
        }
        let mut state = self.state.lock();
        for run in runs.iter() {
            state.free.give(*run);
        }
        Ok(())
    }
}
