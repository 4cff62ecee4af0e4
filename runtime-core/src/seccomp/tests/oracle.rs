//! libseccomp as the oracle: the C library is opened at run time.
//!
//! Not linked, because the `libseccomp` crate can't be built where libseccomp-dev is missing, and
//! then no test at all would run; and because a newer library than the system's can be named, as
//! the generator of the tables needs it: `HOIST_LIBSECCOMP=/path/to/libseccomp.so.2`.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};

use oci_spec::runtime::{Arch, LinuxSeccompOperator};

use crate::seccomp::arch::Abi;
use crate::seccomp::policy::{Condition, Policy};

/// seccomp_version(3)'s structure.
#[repr(C)]
struct Version {
    major: c_uint,
    minor: c_uint,
    micro: c_uint,
}

/// `struct scmp_arg_cmp` of seccomp_rule_add(3).
#[repr(C)]
struct ArgCmp {
    arg: c_uint,
    op: c_int,
    datum_a: u64,
    datum_b: u64,
}

type Context = *mut c_void;

pub(super) struct Oracle {
    pub(super) version: (c_uint, c_uint, c_uint),
    init: unsafe extern "C" fn(u32) -> Context,
    release: unsafe extern "C" fn(Context),
    attr_set: unsafe extern "C" fn(Context, c_int, u32) -> c_int,
    arch_add: unsafe extern "C" fn(Context, u32) -> c_int,
    arch_remove: unsafe extern "C" fn(Context, u32) -> c_int,
    rule_add_array: unsafe extern "C" fn(Context, u32, c_int, c_uint, *const ArgCmp) -> c_int,
    export_bpf: unsafe extern "C" fn(Context, c_int) -> c_int,
    resolve_name: unsafe extern "C" fn(u32, *const c_char) -> c_int,
    resolve_number: unsafe extern "C" fn(u32, c_int) -> *mut c_char,
}

impl Oracle {
    /// Opens the library, or prints why the calling test is skipped.
    pub(super) fn open() -> Option<Self> {
        let path = std::env::var("HOIST_LIBSECCOMP").unwrap_or("libseccomp.so.2".into());
        let c_path = CString::new(path.as_str()).unwrap();
        // SAFETY: a C string; libseccomp has no constructor that needs anything of the caller.
        let library = unsafe { libc::dlopen(c_path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            println!("SKIP: {path} can't be opened: install libseccomp2 or libseccomp-dev");
            return None;
        }
        let symbol = |name: &CStr| {
            // SAFETY: the handle is open and is never closed.
            let address = unsafe { libc::dlsym(library, name.as_ptr()) };
            assert!(!address.is_null(), "{path} lacks {name:?}");
            address
        };
        // SAFETY: the types are those of seccomp.h, unchanged from libseccomp 2.3 to 2.6.
        unsafe {
            let version: unsafe extern "C" fn() -> *const Version =
                function(symbol(c"seccomp_version"));
            let version = &*version();
            Some(Self {
                version: (version.major, version.minor, version.micro),
                init: function(symbol(c"seccomp_init")),
                release: function(symbol(c"seccomp_release")),
                attr_set: function(symbol(c"seccomp_attr_set")),
                arch_add: function(symbol(c"seccomp_arch_add")),
                arch_remove: function(symbol(c"seccomp_arch_remove")),
                rule_add_array: function(symbol(c"seccomp_rule_add_array")),
                export_bpf: function(symbol(c"seccomp_export_bpf")),
                resolve_name: function(symbol(c"seccomp_syscall_resolve_name_arch")),
                resolve_number: function(symbol(c"seccomp_syscall_resolve_num_arch")),
            })
        }
    }

    /// seccomp_syscall_resolve_name_arch(3): a number, a pseudo number (negative), or `None`.
    pub(super) fn resolve(&self, arch: Arch, name: &str) -> Option<i32> {
        const NR_SCMP_ERROR: i32 = -1;
        let name = CString::new(name).unwrap();
        // SAFETY: a C string.
        let number = unsafe { (self.resolve_name)(arch as u32, name.as_ptr()) };
        (number != NR_SCMP_ERROR).then_some(number)
    }

    /// Whether this version has the architecture.
    pub(super) fn has(&self, arch: Arch) -> bool {
        self.resolve(arch, "read").is_some()
    }

    /// seccomp_syscall_resolve_num_arch(3).
    pub(super) fn name(&self, arch: Arch, number: i32) -> Option<String> {
        // SAFETY: the result is NULL or a C string that the caller frees.
        unsafe {
            let name = (self.resolve_number)(arch as u32, number);
            if name.is_null() {
                return None;
            }
            let owned = CStr::from_ptr(name).to_str().unwrap().to_owned();
            libc::free(name.cast());
            Some(owned)
        }
    }

    /// The filter that runc has libseccomp make from this policy, without the -ENOSYS stub; or the
    /// errno with which libseccomp refuses a rule.
    pub(super) fn compile(&self, policy: &Policy<'_>, native: Arch) -> Result<Vec<u8>, c_int> {
        // SAFETY: the context lives until `release`; arrays and their lengths agree.
        unsafe {
            let context = (self.init)(policy.default);
            assert!(!context.is_null());
            // As a tree, which runc asks for from 33 rules on. In its list form libseccomp (up to
            // 2.6.1) forgets to load the system call's number if an interface's first rule is about
            // a system call that the interface lacks.
            const SCMP_FLTATR_CTL_OPTIMIZE: c_int = 8;
            assert_eq!((self.attr_set)(context, SCMP_FLTATR_CTL_OPTIMIZE, 2), 0);
            // It begins with this machine's own interface, whose byte order forbids some others.
            if native != Arch::ScmpArchX86_64 {
                assert_eq!((self.arch_remove)(context, Arch::ScmpArchX86_64 as u32), 0);
            }
            for abi in &policy.abis {
                let result = (self.arch_add)(context, abi.arch as u32);
                assert!(result == 0 || result == -libc::EEXIST, "{:?}: {result}", abi.arch);
            }
            let mut refused = None;
            for rule in &policy.rules {
                let number = self.resolve(Arch::ScmpArchX86_64, rule.name).unwrap();
                let conditions: Vec<_> = rule.conditions.iter().map(arg_cmp).collect();
                let count = c_uint::try_from(conditions.len()).unwrap();
                let result =
                    (self.rule_add_array)(context, rule.action, number, count, conditions.as_ptr());
                if result != 0 {
                    refused.get_or_insert(-result);
                }
            }
            let program = match refused {
                Some(errno) => Err(errno),
                None => Ok(self.export(context, Abi::of(native).is_little_endian())),
            };
            (self.release)(context);
            program
        }
    }

    /// The program, which libseccomp writes in the byte order of its architecture, in ours.
    fn export(&self, context: Context, little_endian: bool) -> Vec<u8> {
        use std::io::{Read, Seek};
        use std::os::fd::AsRawFd;
        let memfd = rustix::fs::memfd_create("bpf", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        // SAFETY: a context of `init` and an open descriptor.
        assert_eq!(unsafe { (self.export_bpf)(context, memfd.as_raw_fd()) }, 0);
        let mut file = std::fs::File::from(memfd);
        let mut program = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut program).unwrap();
        if little_endian != cfg!(target_endian = "little") {
            for instruction in program.chunks_mut(8) {
                instruction[..2].reverse();
                instruction[4..].reverse();
                let value = u32::from_ne_bytes(instruction[4..].try_into().unwrap());
                // Up to 2.6.1 the value of a return is swapped twice where it is repeated to keep a
                // jump short; that only shows on a machine of the other byte order.
                let is_action = |value: u32| {
                    let actions = [0x8000, 0x0003, 0x0005, 0x7fc0, 0x7ff0, 0x7ffc, 0x7fff];
                    value == 0 || actions.contains(&(value >> 16))
                };
                let is_return = u16::from_ne_bytes([instruction[0], instruction[1]]) == 0x06;
                if is_return && !is_action(value) {
                    instruction[4..].reverse();
                }
            }
        }
        program
    }
}

/// The function at an address.
///
/// # Safety
///
/// `F` is the type of a pointer to it.
unsafe fn function<F>(address: *mut c_void) -> F {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: by this function's own condition; both are pointers.
    unsafe { std::mem::transmute_copy(&address) }
}

fn arg_cmp(condition: &Condition) -> ArgCmp {
    let (datum_a, datum_b) = match condition.op {
        LinuxSeccompOperator::ScmpCmpMaskedEq => (condition.mask, condition.value),
        _ => (condition.value, 0),
    };
    // The operators' values are those of `enum scmp_compare`.
    ArgCmp { arg: u32::from(condition.arg), op: condition.op as c_int, datum_a, datum_b }
}
