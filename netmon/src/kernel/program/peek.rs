//! Reads the kernel's memory on request, through a program that is attached to nothing.

use std::io;

use aya::{
    Ebpf,
    programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun},
};
use netmon_common::{Offsets, UNKNOWN};

use super::{
    error::{LoadError, refused},
    object::{Programs, program},
};
use crate::core::id::SocketId;

/// The program that reads the kernel's memory; attached to nothing, run on request.
pub(in crate::kernel) const PEEK: &str = "peek";

/// Loads the program.
pub(super) fn load_peek(programs: &mut Programs<'_>) -> Result<(), LoadError> {
    let peek: &mut RawTracePoint = programs.get(PEEK)?;
    peek.load().map_err(|error| refused(PEEK, &error))
}

/// The most namespaces of a list that is read word by word.
const NAMESPACES: usize = 1024;
/// The most readings of that list: namespaces may come and go while it is read.
const READINGS: usize = 4;

/// Returns the four bytes at `address`; 0 if they cannot be read.
pub(in crate::kernel) fn peek(
    program: &mut RawTracePoint,
    address: u64,
) -> Result<u32, ProgramError> {
    peek_from(program, address, false)
}

/// Returns the four bytes at `address`, or at this distance from this thread's `task_struct`.
fn peek_from(program: &mut RawTracePoint, address: u64, task: bool) -> Result<u32, ProgramError> {
    let mut options = RawTracePointRunOptions::new();
    (options.args[0], options.args[1]) = (address, task.into());
    program.test_run(options).map(|result| result.return_value)
}

/// Returns the eight bytes at `address`, as for [`peek_from`].
fn pointer(program: &mut RawTracePoint, address: u64, task: bool) -> Result<u64, ProgramError> {
    let low = u64::from(peek_from(program, address, task)?);
    Ok(low | u64::from(peek_from(program, address.wrapping_add(4), task)?) << 32)
}

/// Returns the inode numbers of all network namespaces that have not ended. Returns `None` where
/// the kernel's types do not tell how to find them, where there are too many, or where the list
/// changed during each reading.
///
/// For kernels that do not run [`super::walk`].
pub(in crate::kernel) fn namespaces(
    ebpf: &mut Ebpf,
    offsets: &Offsets,
) -> io::Result<Option<Vec<u32>>> {
    let Offsets { task_nsproxy, nsproxy_net_ns, net_list, net_ops, net_count, .. } = *offsets;
    if [task_nsproxy, nsproxy_net_ns, net_list, net_ops, net_count].contains(&UNKNOWN) {
        return Ok(None);
    }
    let program: &mut RawTracePoint = program(ebpf, PEEK).map_err(io::Error::other)?;
    for _ in 0..READINGS {
        if let Some(inums) = follow_namespaces(program, offsets).map_err(io::Error::other)? {
            return Ok(Some(inums));
        }
    }
    Ok(None)
}

fn follow_namespaces(
    program: &mut RawTracePoint,
    offsets: &Offsets,
) -> Result<Option<Vec<u32>>, ProgramError> {
    let at = |base: u64, offset: u32| base.wrapping_add(offset.into());
    let proxy = pointer(program, offsets.task_nsproxy.into(), true)?;
    let first = pointer(program, at(proxy, offsets.nsproxy_net_ns), false)?;
    let ops = pointer(program, at(first, offsets.net_ops), false)?;
    let (mut inums, mut net, mut strangers) = (Vec::new(), first, 0);
    for _ in 0..NAMESPACES {
        if pointer(program, at(net, offsets.net_ops), false)? != ops {
            // One entry is no namespace: the head of the list. Another one was freed meanwhile.
            strangers += 1;
        } else if peek(program, at(net, offsets.net_count))? != 0 {
            inums.push(peek(program, at(net, offsets.net_inum))?);
        }
        let next = pointer(program, at(net, offsets.net_list), false)?;
        net = next.wrapping_sub(offsets.net_list.into());
        if net == first || strangers > 1 {
            return Ok(Some(inums).filter(|_| strangers <= 1));
        }
    }
    Ok(None)
}

/// Returns the local port of the connecting socket at address `sock`, if that socket still has this
/// cookie. The kernel never gives a cookie twice. So the check before and after the read proves
/// that the port was read from that socket.
///
/// Without a cookie, the caller must know that the address still belongs to the socket.
pub(in crate::kernel) fn local_port(
    program: &mut RawTracePoint,
    offsets: &Offsets,
    sock: u64,
    cookie: SocketId,
) -> Result<Option<u16>, ProgramError> {
    let is_same = |program: &mut RawTracePoint| match cookie.cookie() {
        None => Ok(true),
        Some(cookie) => {
            let at = sock + u64::from(offsets.skc_cookie);
            let low = u64::from(peek(program, at)?);
            Ok::<_, ProgramError>(u64::from(peek(program, at + 4)?) << 32 | low == cookie)
        }
    };
    if !is_same(program)? {
        return Ok(None);
    }
    let [low, high, ..] = peek(program, sock + u64::from(offsets.skc_num))?.to_ne_bytes();
    let port = u16::from_ne_bytes([low, high]);
    Ok(if port != 0 && is_same(program)? { Some(port) } else { None })
}
