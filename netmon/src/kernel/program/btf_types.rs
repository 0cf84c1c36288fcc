//! The kernel's types, from its BTF: structures by name, and the places of their fields.

use btf_rs::{Backend, Btf, BtfType, Type};
use netmon_common::UNKNOWN;

/// The file in which the kernel publishes its types (CONFIG_DEBUG_INFO_BTF).
pub(in crate::kernel) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The reason why the offsets are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayoutError {
    /// BTF cannot be read.
    #[error("cannot read {VMLINUX}: {0}")]
    Btf(#[from] btf_rs::Error),
    /// BTF lacks the field in this structure.
    #[error("the kernel's BTF has no field {field} in struct {structure}")]
    NoField {
        /// The structure.
        structure: &'static str,
        /// The path of the field within the structure.
        field: &'static str,
    },
    /// A flag of sockets has another number than the kernel program knows.
    #[error("the kernel's {0} is not bit {1} of a socket's flags")]
    Flag(&'static str, u32),
}

/// Maps the kernel's types where possible (since Linux 6.16), which saves parsing all of them;
/// otherwise reads the file.
pub(super) fn types() -> Result<Btf, btf_rs::Error> {
    Btf::from_file_with_backend(VMLINUX, Backend::Mmap).or_else(|_| Btf::from_file(VMLINUX))
}

/// A structure of the kernel, by name.
pub(super) struct Structure<'a> {
    btf: &'a Btf,
    name: &'static str,
    definition: btf_rs::Struct,
}

impl<'a> Structure<'a> {
    /// Finds the structure `name` that has the field `witness`. BTF may have several structures of
    /// one name.
    pub(super) fn find(
        btf: &'a Btf,
        name: &'static str,
        witness: &'static str,
    ) -> Result<Self, LayoutError> {
        for ty in btf.resolve_types_by_name(name)? {
            if let Type::Struct(definition) = ty {
                let structure = Self { btf, name, definition };
                if structure.offset(witness).is_ok() {
                    return Ok(structure);
                }
            }
        }
        Err(LayoutError::NoField { structure: name, field: witness })
    }

    /// Returns the size in bytes.
    pub(super) fn size(&self) -> u32 {
        u32::try_from(self.definition.size()).unwrap_or(UNKNOWN)
    }

    /// Returns the byte offset of `path`: names joined by dots, anonymous members searched too.
    pub(super) fn offset(&self, path: &'static str) -> Result<u32, LayoutError> {
        // A bitfield has no byte offset to load from.
        place_in(self.btf, &self.definition, path, 0)
            .filter(|place| !place.is_bitfield)
            .map(|place| place.bits / 8)
            .ok_or(LayoutError::NoField { structure: self.name, field: path })
    }

    /// Returns the bit offset of `path`, a bitfield of one bit.
    pub(super) fn bit(&self, path: &'static str) -> Option<u32> {
        let place = place_in(self.btf, &self.definition, path, 0)?;
        place.is_bitfield.then_some(place.bits)
    }
}

/// The place of a field within a structure.
struct FieldPlace {
    bits: u32,
    is_bitfield: bool,
}

/// The greatest depth of nesting. No kernel nests deeper, except a BTF that loops.
const MAX_DEPTH: u32 = 16;

fn place_in(btf: &Btf, structure: &btf_rs::Struct, path: &str, depth: u32) -> Option<FieldPlace> {
    if depth > MAX_DEPTH {
        return None;
    }
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    for member in &structure.members {
        let name = btf.resolve_name(member).unwrap_or_default();
        let bits = member.bit_offset();
        let within = |path| {
            let inner = place_in(btf, &structure_of(btf, member)?, path, depth + 1)?;
            Some(FieldPlace { bits: bits + inner.bits, ..inner })
        };
        if name == first {
            let is_bitfield = bits % 8 != 0 || member.bitfield_size().is_some_and(|size| size != 0);
            return rest.map_or(Some(FieldPlace { bits, is_bitfield }), within);
        }
        if name.is_empty()
            && let Some(place) = within(path)
        {
            return Some(place);
        }
    }
    None
}

/// Returns the structure or union behind `member`, through typedefs and qualifiers.
fn structure_of(btf: &Btf, member: &dyn BtfType) -> Option<btf_rs::Struct> {
    let mut ty = btf.resolve_chained_type(member).ok()?;
    for _ in 0..MAX_DEPTH {
        ty = match ty {
            Type::Struct(inner) | Type::Union(inner) => return Some(inner),
            Type::Typedef(t) => btf.resolve_chained_type(&t).ok()?,
            Type::Volatile(t) | Type::Const(t) | Type::Restrict(t) => {
                btf.resolve_chained_type(&t).ok()?
            }
            _ => return None,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_no_kernel_has_is_named() {
        let btf = &types().expect("this kernel has BTF");
        let sock = Structure::find(btf, "sock", "sk_err").expect("struct sock");
        let error = sock.offset("sk_wonder").expect_err("no such field");
        assert_eq!(error.to_string(), "the kernel's BTF has no field sk_wonder in struct sock");
        assert!(Structure::find(btf, "no_such_struct", "x").is_err());
    }
}
